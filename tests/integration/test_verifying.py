"""The process that looks through versions' files: what it says, what it has, and that the service survives it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from contract import signature
from contract.mlmodel import manifest
from inference.errors import ModelRefused, ProcessEnded
from inference.model.version import ModelVersion
from inference.verification.client import MB, Verifier
from setup.signing_key import new_private_key, public_key_of

from tests.unit.version_files import Files

VERSION = ModelVersion("flowers", "3", "run", 1, "m-3", "")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    private, public = folder / "signing-key.pem", folder / "signing-key.pub"
    private.write_text(new_private_key())
    public.write_text(public_key_of(private.read_text()))
    return private, public


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "version").mkdir()
    return Files(tmp_path / "version")


def test_what_signs_and_verifies_imports_nothing_that_goes_through_a_service() -> None:
    code = "import sys; from contract import signature; signature.library(); print(*sys.modules)"
    environ = os.environ | {"PYTHONPATH": str(Path(signature.__file__).parents[1])}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ).stdout
    assert "model_signing.verifying" in said.split()
    assert {"sigstore", "tuf", "requests", "boto3"}.isdisjoint(said.split())


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    """One that asks for no signatures."""
    verifier = Verifier(None)
    yield verifier
    verifier.end()


@pytest.fixture(scope="module")
def strict(keys: tuple[Path, Path]) -> Iterator[Verifier]:
    verifier = Verifier(keys[1])
    yield verifier
    verifier.end()


def test_a_signed_version_is_verified_and_read(files: Files, keys: tuple[Path, Path], strict: Verifier) -> None:
    signature.sign(files.folder, "flowers", "m-3", keys[0])
    found, description = strict.check(files.folder, VERSION)
    assert set(found.digests) == {"MLmodel", "identity.json", "input_example.json"}
    expected = manifest.read(found)
    assert expected.examples
    assert description == replace(expected, examples=[])


def test_a_folder_is_found_where_the_service_runs_whatever_way_it_is_named(
    files: Files, keys: tuple[Path, Path], strict: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature.sign(files.folder, "flowers", "m-3", keys[0])
    monkeypatch.chdir(files.folder.parent)
    folder = Path(files.folder.name)
    assert set(strict.listed(folder / "model.sig")) == {"MLmodel", "identity.json", "input_example.json"}
    found, _ = strict.check(folder, VERSION)
    assert found.read("MLmodel")


def test_what_a_signature_lists_is_told_before_anything_else_is_there(
    files: Files, keys: tuple[Path, Path], strict: Verifier
) -> None:
    signature.sign(files.folder, "flowers", "m-3", keys[0])
    assert set(strict.listed(files.folder / "model.sig")) == {"MLmodel", "identity.json", "input_example.json"}


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"dsseEnvelope": {"payload": "AAAA"}}'])
def test_a_signature_that_is_none_is_refused_and_the_process_lives(
    files: Files, strict: Verifier, content: str
) -> None:
    (files.folder / "model.sig").write_text(content)
    with pytest.raises(ModelRefused, match="its signature cannot be read") as refused:
        strict.listed(files.folder / "model.sig")
    assert not isinstance(refused.value, ProcessEnded)


def test_a_version_that_is_not_signed_is_refused_where_signatures_are_asked_for(files: Files, strict: Verifier) -> None:
    with pytest.raises(ModelRefused, match="it is not signed; `docker compose run trainer adopt 3`"):
        strict.check(files.folder, VERSION)


def test_without_signatures_each_file_is_known_by_what_it_is_when_it_is_looked_through(
    files: Files, verifier: Verifier
) -> None:
    found, _ = verifier.check(files.folder, VERSION)
    assert found.read("MLmodel") == (files.folder / "MLmodel").read_bytes()


def test_what_cannot_be_served_is_refused_in_its_words(files: Files, verifier: Verifier) -> None:
    files.describe(lambda content: content.update(flavors={"pytorch": {}}))
    with pytest.raises(ModelRefused, match="its flavors are pytorch"):
        verifier.check(files.folder, VERSION)


def test_one_process_answers_all_questions(files: Files, verifier: Verifier) -> None:
    verifier.check(files.folder, VERSION)
    process = verifier._process.pid
    verifier.check(files.folder, VERSION)
    assert verifier._process.pid == process


def test_a_version_that_takes_more_memory_than_it_may_ends_the_process_alone_and_the_next_one_is_read(
    files: Files,
) -> None:
    verifier = Verifier(None, memory=24 * MB)
    good = (files.folder / "MLmodel").read_bytes()
    (files.folder / "MLmodel").write_bytes(b"[" + b"[]," * 60_000 + b"]")
    with pytest.raises(ProcessEnded, match=r"the process that verifies it ended over it .* 24 MB"):
        verifier.check(files.folder, VERSION)
    (files.folder / "MLmodel").write_bytes(good)
    assert verifier.check(files.folder, VERSION)
    verifier.end()


def test_a_version_that_takes_longer_than_it_may_ends_the_process(files: Files) -> None:
    verifier = Verifier(None, seconds=0.0)
    with pytest.raises(ProcessEnded, match="the process that verifies it ended over it"):
        verifier.listed(files.folder / "model.sig")
    verifier.end()


def test_a_process_that_was_killed_between_two_questions_is_started_again(files: Files, verifier: Verifier) -> None:
    verifier.check(files.folder, VERSION)
    verifier._process.kill()
    verifier._process.wait()
    assert verifier.check(files.folder, VERSION)


class OutOfStep:
    """Answers as the process does, but for its first answers, which are what a test sets."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    def __call__(self, process: object, question: bytes, seconds: float) -> bytes:
        if self._answers:
            return self._answers.pop(0)
        return json.dumps({"id": json.loads(question)["id"], "files": {"MLmodel": "its own"}}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        b'{"id": 0, "files": {"MLmodel": "of another"}}\n',
        b'{"files": {"MLmodel": "of another"}}\n',
        b'{"id": 1, "files": {}}\n{"id": 2, "files": {}}\n',
        b'{"id": 1}\n',
        b'{"id": 1, "fi\n',
        b"WARNING: an empty hint\n",
        b"[]\n",
        b"[" * 100_000 + b"\n",
    ],
    ids=lambda answer: repr(answer[:40]),
)
def test_an_answer_that_is_of_another_question_or_none_ends_the_process_and_the_next_one_is_of_its_own(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    verifier = Verifier(None)
    monkeypatch.setattr(verifier, "_line_of", OutOfStep(answer))
    verifier.start()
    first = verifier._process
    with pytest.raises(ProcessEnded):
        verifier.listed(Path("model.sig"))
    assert first.returncode is not None
    assert verifier.listed(Path("model.sig")) == {"MLmodel": "its own"}
    assert verifier._process is not first
    verifier.end()


def test_a_process_that_nobody_asks_ends_and_is_started_for_the_next_question(files: Files) -> None:
    verifier = Verifier(None, idle_seconds=0.2)
    verifier.check(files.folder, VERSION)
    first = verifier._process
    if first is not None:  # it may have ended meanwhile
        first.wait(30)
    assert verifier.check(files.folder, VERSION)
    verifier.end()


def test_the_process_verifies_what_a_tag_says(keys: tuple[Path, Path], strict: Verifier) -> None:
    strict.check_text(b"content", signature.sign_text(b"content", keys[0]))
    for content, text in ((b"other", signature.sign_text(b"content", keys[0])), (b"content", "none of Base64")):
        with pytest.raises(ModelRefused, match="does not hold"):
            strict.check_text(content, text)


def test_the_process_has_no_secrets_and_little_of_all_else(monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    verifier = Verifier(None)
    verifier.check(files.folder, VERSION)
    of_process = Path(f"/proc/{verifier._process.pid}")
    assert b"a secret" not in (of_process / "environ").read_bytes()
    limits = (of_process / "limits").read_text()
    (address_space,) = [line.split()[3] for line in limits.splitlines() if line.startswith("Max address space")]
    assert 256 * MB < int(address_space) < 512 * MB
    assert (of_process / "oom_score_adj").read_text() == "1000\n"
    verifier.end()


def test_after_the_end_there_is_no_process_and_none_is_started(files: Files) -> None:
    verifier = Verifier(None)
    verifier.check(files.folder, VERSION)
    process = verifier._process.pid
    verifier.end()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(ModelRefused, match="the service is at its end"):
        verifier.check(files.folder, VERSION)
