"""Sign a version that somebody logged by hand, after checking in a sandbox that it can be served.

Here is the key, so nothing of the version is loaded, asked or read here. What is signed is the estimator and the input
example as they were checked, byte for byte, text files that are written anew from what the check has found, and an ONNX
model where one was proven and has been looked through (trainer.adoption.onnx_graph).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import audit
import mlflow
import yaml
from contract import documents, limits
from contract.display import visible
from contract.errors import Refused
from contract.file_names import GOLDEN, IDENTITY, MLMODEL, ONNX_MODEL, ONNX_RECORD, SIGNATURE
from contract.signature import RUNS_CODE, entries, files_in
from contract.tracking.artifacts import Source
from contract.tracking.rest import SIGNED_BY
from contract.version_files import digest_of
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from trainer.adoption import code_examination, examination, sandbox, vouched
from trainer.adoption.findings import MOST_WORD, Findings
from trainer.adoption.onnx_graph import MOST_ONNX_BYTES
from trainer.artifact import environment, signing, version_files
from trainer.console.terminal import Console
from trainer.errors import TrainerError, VersionError
from trainer.settings import Settings
from trainer.tracking import registry
from trainer.tracking.answers import mlflow_errors

# What is written anew, whatever the version had under these names.
MADE = (MLMODEL, GOLDEN, ONNX_RECORD, *environment.FILES)
# Names that a version's own files cannot have: MLflow writes the last one over whatever is there.
TAKEN = {*MADE, ONNX_MODEL, IDENTITY, SIGNATURE, "registered_model_meta"}
# Names that neither may have: what is parsed under them would be the model's word, signed as if the trainer had written it.
METADATA = {*TAKEN, *limits.PARSED}
# What a version of the trainer's has beside.
NOTHING_OF_A_TRAINING = "It has none of what its training data would be needed for: figures, bounds and categories of its columns, a reference profile."
MOST = sandbox.Limits()
EXAMINED = "trainer.adoption.examination:examined"
SHOWN = 10
SIGNED_BEFORE = "other files are signed as this model already, and could be brought back; log the model anew and register that version"
ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Signed:
    """A version that is checked and signed in a folder of this machine: in MLflow there is nothing of that yet."""

    settings: Settings
    version: ModelVersion
    place: Source
    folder: Path
    sha256: Mapping[str, str]
    """path → SHA-256 of its own files"""
    made: list[str]
    """the files that go beside them"""
    words: list[str]
    """what is to be said of it once it can be served"""
    allow_code: bool

    def check_unchanged(self) -> None:
        """Raise VersionError where MLflow has other files of the version by now than those that were checked."""
        version_files.check_unchanged(self.place, self.sha256)

    def publish(self, by: str, console: Console) -> None:
        """Put the signature, and what was made for it, beside the version's files: from here on it can be served."""
        settings, name, number = self.settings, self.version.name, str(self.version.version)
        # The signature last, which makes it all count.
        version_files.upload([self.folder / path for path in (*self.made, IDENTITY, SIGNATURE)], self.place)
        with mlflow_errors():
            MlflowClient().set_model_version_tag(
                name, number, SIGNED_BY, key_id := signing.key_id(settings.signing_key)
            )
        why = "with its code, vouched for" if self.allow_code else ""
        audit.note("signature", f"{name} {number}", None, key_id, by, why)
        for line in self.words:
            _tell(console, line)


def adopt(settings: Settings, version: str, console: Console, confined: bool = True, allow_code: bool = False) -> None:
    """Check a version of the registered model and sign it; raise VersionError saying what it lacks.

    `confined` false checks it without a sandbox, for one's own version on a system that has none. `allow_code` signs it as it
    is, with the code that runs when it is loaded: whoever says so vouches for that.
    """
    signing.check_key(settings.signing_key)
    mlflow.set_tracking_uri(settings.tracking_uri)
    found = registry.model_version(settings.model_name, version)
    with signed_here(settings, found, console, confined, allow_code) as signed:
        signed.check_unchanged()
        signed.publish("adopt", console)


@contextmanager
def signed_here(
    settings: Settings, found: ModelVersion, console: Console, confined: bool = True, allow_code: bool = False
) -> Iterator[Signed]:
    """Yield a version, checked and signed in a folder that is there until the block ends; nothing of it is uploaded.

    Raises VersionError saying what it lacks, and for what this key has signed with other files before.
    """
    name, version, model_id = settings.model_name, str(found.version), version_files.model_id_of(found)
    # Asked for once: what MLflow says later may be another place, and what was checked is here.
    place = version_files.place_of(found)
    with version_files.unsigned(place) as folder:
        check_names(before := files_in(folder))
        check_identity(folder, name)
        earlier = signing.signed_before(folder, name, model_id, settings.signing_key)
        if allow_code:
            if confined:
                _check_sandbox(folder, settings, f"{version}{settings.model_option} --allow-code")
            ask = partial(_asked, folder=folder, settings=settings, confined=confined)
            sha256, made, left_out = vouched.prepare(folder, ask, partial(_tell, console))
            given = [f"It has no ONNX engine, as its own code answers. {NOTHING_OF_A_TRAINING}"]
        else:
            checked = _examined(folder, settings, version, confined)
            sha256, made, left_out = checked.sha256, _made(checked), _write(checked, folder, before, model_id)
            given = list(_given(checked))
        own = {path: digest for path, digest in sha256.items() if path not in made}
        check_first(own, earlier)
        signing.sign(folder, name, model_id, settings.signing_key, allow_code)
        _check_signed(folder, sha256, made)
        done = f"Version {version} of {name} is {_done(settings, version, allow_code)}"
        yield Signed(settings, found, place, folder, own, made, [done, *given, *_left(left_out, confined)], allow_code)


def check_first(own: Mapping[str, str], earlier: Mapping[str, str]) -> None:
    """Refuse a second signature over other files: one signature is as good as the other, and so would be the files.

    Whoever writes to MLflow could bring back what was signed first, once the second is in Production.
    """
    if earlier and any(earlier.get(path) != digest for path, digest in own.items()):
        raise Refused(SIGNED_BEFORE)


def _given(checked: Findings) -> Iterator[str]:
    """Yield what a version was given and what not, a sentence at a time."""
    answers = "an ONNX engine answers for it" if checked.onnx["kept"] else "scikit-learn answers for it: no ONNX engine"
    yield f"Its golden samples are made of its input example, and {answers}: {checked.onnx['reason']}."
    yield NOTHING_OF_A_TRAINING


def _left(left_out: list[str], confined: bool) -> Iterator[str]:
    if left_out:
        shown = ", ".join(visible(path, 100) for path in left_out[:SHOWN])
        more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        yield f"Not signed, so not read by anything here: {shown}{more}."
    if not confined:
        yield "It was checked without a sandbox: while it was tried, it could read what this command can."


def check_identity(folder: Path, name: str) -> None:
    """Refuse files that are signed for another registered model: signing them anew would take them away from it."""
    if not (folder / IDENTITY).exists():
        return
    identity = documents.read_json(folder, IDENTITY)
    signed_for = identity.get("model_name") if isinstance(identity, dict) else None
    if signed_for != name:
        raise VersionError(
            f"its files are signed for {visible(str(signed_for), 100)}; log the model once more to register it as {name}"
        )


def check_names(files: list[str]) -> None:
    """Refuse files in folders that are called like a file that is written here: the two cannot be in one store."""
    for path in files:
        first, *rest = path.split("/")
        if rest and first in TAKEN:
            raise Refused(f"its folder {first} has the name of a file that is written anew; log the model without it")


def check_files(found: Findings, folder: Path) -> None:
    """Refuse an estimator or an example under a name, or with a content, that another client would take for something else.

    A file that begins as a zip archive does is no pickle to whoever opens it as one.
    """
    if taken := METADATA & {found.estimator, found.example}:
        raise Refused(f"its estimator or its example is called {taken.pop()}, which is another file's name")
    for path, ending in ((found.estimator, ".skops"), (found.example, ".json")):
        if not path.endswith(ending):
            raise Refused(f"its file {visible(path, 100)} has to end in {ending}, as what it is")
    with (folder / found.estimator).open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            raise Refused(
                f"its file {visible(found.estimator, 100)} is no skops file: it does not begin as a zip archive"
            )


def check_adopted(folder: Path, settings: Settings) -> None:
    """Have an adopted version tried once more, where it reaches no key; raise Refused where it cannot be served.

    Where the system has no sandbox, a person has adopted it without one, and it is tried within limits alone.
    """
    confined = _lack_of_sandbox(folder, _hidden(settings)) is None
    function, trusted = f"{examination.__name__}:check_servable", [sorted(settings.trusted_types)]
    if runs_code(folder):
        function, trusted = f"{code_examination.__name__}:check_readable", []
    _asked(function, folder, settings, confined, *trusted)


def runs_code(folder: Path) -> bool:
    """Tell whether a signed version is one whose owner has vouched for its code."""
    return (folder / IDENTITY).exists() and documents.read_json(folder, IDENTITY).get(RUNS_CODE) is True


def _check_sandbox(folder: Path, settings: Settings, adopted: str) -> None:
    """Raise TrainerError where there is no sandbox; `adopted` is what `adopt` was told."""
    if (lack := _lack_of_sandbox(folder, _hidden(settings))) is not None:
        raise TrainerError(
            f"a model that is not signed is checked in a sandbox, which this system does not have ({lack}); where you "
            f"made the version yourself, `adopt {adopted} --unconfined` checks it without"
        ) from lack


def _done(settings: Settings, version: str, allow_code: bool) -> str:
    if not allow_code:
        return "checked and signed; it can be served now."
    return (
        f"signed as it is, with its code, for which you vouch. `scripts/inference-any {version}{settings.model_option}` "
        "builds the prediction service that can run it. Without Docker, `make serve` does; there it runs as you, and can read "
        "what you can, the signing key too."
    )


def _examined(folder: Path, settings: Settings, version: str, confined: bool) -> Findings:
    before = {path: digest_of(folder / path) for path in files_in(folder)}
    if confined:
        _check_sandbox(folder, settings, f"{version}{settings.model_option}")
    answer, onnx = _answer(folder, settings, confined)
    checked = Findings.of(answer, list(before))
    if any(before[path] != digest for path, digest in checked.sha256.items()):
        raise Refused("what was checked is not what is here")
    check_files(checked, folder)
    return _with_onnx(checked, onnx, folder, settings, confined) if checked.onnx["kept"] else checked


def _answer(folder: Path, settings: Settings, confined: bool) -> tuple[Any, bytes]:
    """Return what the check says of a version, and its ONNX engine; one that ends over that is checked without."""
    trusted, most = sorted(settings.trusted_types), sandbox.Limits(attached=MOST_ONNX_BYTES)
    found: tuple[Any, bytes]
    try:
        found = _asked(EXAMINED, folder, settings, confined, trusted, most=most)
    except sandbox.Ended as error:
        found = _asked(EXAMINED, folder, settings, confined, trusted, f"{error}, while one was made", most=most)
    return found


def _with_onnx(checked: Findings, onnx: bytes, folder: Path, settings: Settings, confined: bool) -> Findings:
    """Put the ONNX model among the files, once it has been looked through in a sandbox in which no model is loaded."""
    path = folder / ONNX_MODEL
    path.write_bytes(onnx)
    digest = digest_of(path)
    try:
        _asked("trainer.adoption.onnx_graph:check", folder, settings, confined)
    except Refused as error:
        path.unlink()
        reason = visible(f"the one that was made is not signed: {error}", MOST_WORD)
        return replace(checked, onnx={"kept": False, "reason": reason})
    return replace(checked, sha256=checked.sha256 | {ONNX_MODEL: digest})


def _hidden(settings: Settings) -> list[Path]:
    return [settings.signing_key, settings.data_dir]


def _asked(
    function: str,
    folder: Path,
    settings: Settings,
    confined: bool,
    *arguments: Any,
    most: sandbox.Limits = MOST,
) -> Any:
    """Return what a function makes of a version in a child; raise Refused for whatever a model may have it say."""
    try:
        return sandbox.run(function, folder, *arguments, hidden=_hidden(settings), confined=confined, most=most)
    except sandbox.Unconfined as error:  # a model's word by now
        raise Refused("the check did not go on as it began") from error


def _lack_of_sandbox(folder: Path, hidden: list[Path]) -> sandbox.Unconfined | None:
    """Say why there is no sandbox, None where there is: asked of one in which nothing of the model's has been touched."""
    try:
        sandbox.run("trainer.adoption.sandbox:nothing", folder, hidden=hidden)
    except sandbox.Unconfined as error:
        return error
    return None


def _write(checked: Findings, folder: Path, before: list[str], model_id: str) -> list[str]:
    """Make the folder what is to be signed; return those of the files it had before that are left out of it."""
    left_out = [path for path in before if path not in checked.sha256]
    for path in left_out:  # an ONNX model of its own has given way to the one that was made
        (folder / path).unlink(missing_ok=True)
    content = {**examination.rewritten(checked), "model_id": model_id, "model_uuid": model_id}
    (folder / MLMODEL).write_text(yaml.safe_dump(content, allow_unicode=True))
    documents.write_json(folder / GOLDEN, checked.golden)
    documents.write_json(folder / ONNX_RECORD, checked.onnx)
    environment.write(folder)
    return [path for path in left_out if path not in TAKEN - {ONNX_MODEL}]


def _made(checked: Findings) -> list[str]:
    """Return the files that are written, whatever the version had under their names."""
    return [*MADE, *({ONNX_MODEL} & checked.sha256.keys())]


def _check_signed(folder: Path, sha256: dict[str, str], made: list[str]) -> None:
    """Refuse where the signature is not over the very bytes that were checked, or over more than it should be."""
    signed = entries((folder / SIGNATURE).read_bytes())
    if signed.keys() != {*sha256, *made, IDENTITY} or not sha256.items() <= signed.items():
        raise Refused("what is signed is not what was checked")


def _tell(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
