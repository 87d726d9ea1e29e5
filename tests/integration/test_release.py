"""A release's images take the place of builds, each by its digest; what a release lacks is named."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from functools import cache
from hashlib import sha256
from pathlib import Path
from runpy import run_path

import pytest
import release_check
import yaml
from doctor.host import images
from doctor.host.docker import Failed, Stack
from doctor.records import FAIL, WARN, Row

from tests import backups

ROOT = Path(__file__).parents[2]
PREFIX = "registry.example.com:5000/team/mlflow-stack"
DIGEST = "sha256:" + 64 * "a"
RELEASED = ("mlflow", "setup", "trainer", "inference", "minio", "backup")
RELEASE_COMPOSE = run_path(str(ROOT / "scripts/release-compose"))
CONFIG = """
{"services": {
  "secrets": {"image": "release-compose/setup", "build": {}, "pull_policy": "build"},
  "bucket": {"image": "release-compose/setup", "pull_policy": "never"},
  "postgres": {"image": "postgres:17-trixie"},
  "inference": {"image": "release-compose/inference-any", "build": {}}
}}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Docker reads a small compose file, and the list of a release's images."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/release-compose", tmp_path / "scripts")
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncat <<'END'\n{CONFIG}\nEND\n")
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "release.images").write_text(
        "# release 0.2.0\n" + "".join(f"{PREFIX}/{name}@{DIGEST}\n" for name in RELEASED)
    )
    return tmp_path


def release_compose(checkout: Path) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"PATH": f"{checkout}:{os.environ['PATH']}"}
    command = [str(checkout / "scripts/release-compose"), "release.images", "compose.any.yaml"]
    return subprocess.run(command, cwd=checkout, env=environ, capture_output=True, text=True)


def test_each_of_our_images_is_pulled_by_its_digest_and_built_nowhere(checkout: Path) -> None:
    said = release_compose(checkout)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "COMPOSE_FILE=compose.yaml:compose.any.yaml:compose.release.yaml\n"
    text = (checkout / "compose.release.yaml").read_text()
    written = yaml.safe_load(text.replace("!reset null", "RESET"))
    ours = {"image": f"${{MLFLOW_STACK_REGISTRY:-{PREFIX}}}/setup@{DIGEST}", "build": "RESET", "pull_policy": "missing"}
    assert written == {"x-release": "0.2.0", "services": {"secrets": ours, "bucket": ours}}


def test_an_image_that_the_release_does_not_have_is_built_as_before_and_named(checkout: Path) -> None:
    assert "the release has no image inference-any, which is built as before" in release_compose(checkout).stderr


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{PREFIX}/mlflow:0.1.0", "is no image by its digest"),
        (f"elsewhere.example.com/mlflow@{DIGEST}", "must have images under one prefix"),
    ],
)
def test_what_is_no_list_of_one_releases_images_is_refused_and_nothing_is_written(
    checkout: Path, line: str, reason: str
) -> None:
    with (checkout / "release.images").open("a") as file:
        file.write(f"{line}\n")
    said = release_compose(checkout)
    assert said.returncode == 1
    assert reason in said.stderr
    assert not (checkout / "compose.release.yaml").exists()


def test_a_list_that_does_not_say_of_which_release_it_is_is_refused(checkout: Path) -> None:
    (checkout / "release.images").write_text(f"{PREFIX}/mlflow@{DIGEST}\n")
    said = release_compose(checkout)
    assert said.returncode == 1
    assert "expected the release's version, such as # release 0.3.0" in said.stderr


@pytest.mark.parametrize(
    "script", ["notes 0.2.0-rc1", "images PREFIX 0.2.0-rc1", "images PREFIX 0.2.0-s390x", "join PREFIX 0.2.0-rc1 LIST"]
)
def test_what_release_compose_would_not_take_as_a_release_is_refused_before_anything_is_pushed(
    checkout: Path, script: str
) -> None:
    name, *arguments = f"release-{script}".split()
    shutil.copy(ROOT / "scripts" / name, checkout / "scripts")
    (checkout / "CHANGELOG.md").write_text("## [0.2.0-rc1] - 2026-12-24\n\n- New.\n")
    said = subprocess.run([checkout / "scripts" / name, *arguments], cwd=checkout, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (1, "")
    assert (
        f"'{next(word for word in arguments if '-' in word)}' is no version of a release, such as 0.3.0" in said.stderr
    )
    assert not RELEASE_COMPOSE["VERSION"].fullmatch("# release 0.2.0-rc1")


# --- what a release needs ------------------------------------------------------------------------------------------


def digest_of(image: str) -> str:
    return f"sha256:{sha256(image.encode()).hexdigest()}"


@cache
def compose_release(*overlays: str) -> str:
    """Return what scripts/release-compose makes of the stack's own files, each image having a digest of its own."""
    services: dict[str, dict[str, str]] = {}
    for name in ("compose.yaml", *overlays):
        text = (ROOT / name).read_text().replace("${COMPOSE_PROJECT_NAME}", RELEASE_COMPOSE["PROJECT"])
        for service, found in yaml.safe_load(text)["services"].items():
            services[service] = services.get(service, {}) | found
    digests = {image: digest_of(image) for image in release_check.IMAGES}
    made, built = RELEASE_COMPOSE["Release"]("0.2.0", PREFIX, digests).overlay(services)
    assert built == []
    return str(made)


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A checkout with all that release 0.2.0 needs before its tag, and after its images."""
    files = {
        "pyproject.toml": '[project]\nversion = "0.2.0"\n',
        "services/inference/__init__.py": 'VERSION = "0.2.0"\n',
        "CHANGELOG.md": "## [Unreleased]\n\n## [0.2.0] - 2027-01-31\n\n- New.\n\n## [0.1.0] - 2026-12-24\n\n- All.\n",
        "release.env": "".join(f"{base}=some:1@{DIGEST}\n" for base in release_check.BASES),
        "release.images": "# release 0.2.0\n"
        + "".join(f"{PREFIX}/{name}@{digest_of(name)}\n" for name in release_check.IMAGES),
        "compose.yaml": (ROOT / "compose.yaml").read_text(),
        "compose.release.yaml": compose_release(),
        "services/mlflow/requirements.txt": "flask==3.1.3 \\\n    --hash=sha256:00\n",
    }
    for name in release_check.IMAGES:
        components = [{"name": "flask", "version": "3.1.3"}] if name == "mlflow" else []
        files[f"build/sbom/{name}.cdx.json"] = json.dumps({"components": components})
    for release in ("0.1.0", "0.2.0"):
        files |= {f"tests/fixtures/release-{release}/{name}": "…" for name in release_check.OF_A_FIXTURE}
    made_by = {"code_sha256": sha256(b"trainer/train.py\0print(1)\n").hexdigest()}
    files["services/trainer/train.py"] = "print(1)\n"
    files["tests/fixtures/release-0.2.0/registry.json"] = json.dumps({"versions": {"1": ["run", made_by]}})
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "All"), ("tag", "v0.2.0")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    # Not of the code that is here, but of what the working tree has.
    (tmp_path / "build/green").write_text(release_check.commit(tmp_path, "HEAD"))
    (tmp_path / ".git/info/exclude").write_text("build\n")
    return tmp_path


def missing(checkout: Path) -> list[str]:
    """Return what is missing, by whatever looks at the checkout alone."""
    # They run the code, and the resolver, which asks the package index.
    elsewhere = (release_check.generated, release_check.locked, release_check.packaged)
    checks = dict.fromkeys([*release_check.BEFORE, *release_check.PUBLISHED])
    number = release_check.version(checkout)
    return [line for check in checks if check not in elsewhere for line in check(checkout, number)]


def test_nothing_is_missing_where_a_release_has_all(ready: Path) -> None:
    assert missing(ready) == []


@pytest.mark.parametrize("overlays", [(), ("compose.predictions.yaml", "compose.sso.yaml")])
def test_images_of_overlays_are_asked_for_only_where_the_file_was_made_for_them(
    ready: Path, overlays: tuple[str, ...]
) -> None:
    text = compose_release(*overlays)
    (ready / "compose.release.yaml").write_text(text)
    assert [digest_of(image) in text for image in ("predictions", "sso")] == 2 * [bool(overlays)]
    assert list(release_check.digests(ready, "0.2.0")) == []


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("pyproject.toml", '[project]\nversion = "0.3.0"\n', "CHANGELOG.md: there is no section `## [0.3.0] - YYYY-MM-DD`"),
        ("pyproject.toml", '[project]\nversion = "0.3.0"\n', "this commit has no tag v0.3.0, and pyproject.toml has 0.3.0"),
        ("services/inference/__init__.py", 'VERSION = "0.1.0"\n', "services/inference/__init__.py: VERSION is 0.1.0, pyproject.toml has 0.2.0"),
        ("CHANGELOG.md", "## [0.2.0] - soon\n\n- New.\n", "CHANGELOG.md: the section [0.2.0] has no day, `## [0.2.0] - YYYY-MM-DD`"),
        ("CHANGELOG.md", "## [0.2.0] - 2027-01-31\n", "CHANGELOG.md: the section [0.2.0] is empty"),
        ("tests/fixtures/release-0.1.0/password", None, "tests/fixtures/release-0.1.0/password is missing; `.venv/bin/python -m tests.backups 0.1.0` makes it"),
        ("build/green", "0123abc", "no test run has passed on this commit; `.ci/run` runs all, and notes it in build/green"),
        ("README.md", "new", "README.md is not committed"),
        ("release.images", f"{PREFIX}/mlflow@{DIGEST}\n", "release.images: backup has no digest; `scripts/release-images PREFIX 0.2.0`"),
        ("release.images", f"# release 0.1.0\n{PREFIX}/mlflow@{DIGEST}\n", "release.images is not of 0.2.0; `scripts/release-images PREFIX 0.2.0`"),
        ("release.env", "", "release.env: CADDY_IMAGE has no digest; `scripts/base-images --digests >release.env`"),
        ("compose.release.yaml", None, "compose.release.yaml: backup is not what release.images has; `scripts/release-compose release.images`"),
        ("compose.release.yaml", compose_release().replace(digest_of("minio"), digest_of("sso")), "compose.release.yaml: minio is not what release.images has; `scripts/release-compose release.images`"),
        ("compose.release.yaml", compose_release("compose.sso.yaml").replace(digest_of("sso"), DIGEST), "compose.release.yaml: sso is not what release.images has; `scripts/release-compose release.images`"),
        ("build/sbom/minio.cdx.json", None, "build/sbom/minio.cdx.json is missing; `make sbom` makes it"),
        ("services/mlflow/requirements.txt", "flask==3.1.4\n", "build/sbom/mlflow.cdx.json: flask==3.1.4 is not in it; `make sbom` makes it anew"),
    ],
)  # fmt: skip
def test_what_a_release_lacks_is_named_in_a_line_of_its_own(
    ready: Path, file: str, text: str | None, line: str
) -> None:
    if text is None:
        (ready / file).unlink()
    else:
        (ready / file).write_text(text)
    assert line in missing(ready)


def test_the_fixture_of_a_release_is_of_its_own_code_until_it_is_tagged(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "tag", "--delete", "v0.2.0"], cwd=ready, check=True, capture_output=True)
    assert list(release_check.fixtures(ready, "0.2.0")) == []
    (ready / "services/trainer/train.py").write_text("print(2)\n")
    (line,) = release_check.fixtures(ready, "0.2.0")
    other = "tests/fixtures/release-0.2.0 is of other code than this commit's"
    assert line == f"{other}; `.venv/bin/python -m tests.backups 0.2.0` makes it anew"
    subprocess.run(["git", "tag", "v0.2.0"], cwd=ready, check=True)
    assert list(release_check.fixtures(ready, "0.2.0")) == []
    monkeypatch.setattr(backups, "FIXTURES", ready / "tests/fixtures")
    monkeypatch.setattr(sys, "argv", ["backups", "0.2.0"])
    with pytest.raises(SystemExit, match=r"v0\.2\.0 is tagged: what that release has left behind is never made anew"):
        backups.main()


def test_a_package_is_named_that_has_no_wheel_of_the_lock_for_a_processor() -> None:
    wheels = {
        "numpy": "aa",
        "pandas": "bb",
        "scipy": "",
    }  # the index has one of pandas that is not in the lock, and none of scipy
    resolved = "".join(
        f'[[packages]]\nname = "{name}"\nversion = "1"\n'
        + (f'wheels = [{{ hashes = {{ sha256 = "{32 * digits}" }} }}]\n' if digits else "")
        for name, digits in wheels.items()
    )
    lock = f"numpy==1 \\\n    --hash=sha256:{32 * 'cc'} \\\n    --hash=sha256:{32 * 'aa'}\n"
    found = list(release_check.without_wheel(lock, resolved))
    reason = "has no wheel whose hash is in the lock; `scripts/lock`"
    assert found == [f"pandas 1 {reason}", f"scipy 1 {reason}"]


def test_a_tag_that_another_commit_has_is_taken(ready: Path) -> None:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "More"], cwd=ready, check=True)
    assert "the tag v0.2.0 is on another commit; raise `version` in pyproject.toml" in missing(ready)


def test_the_images_that_are_looked_for_are_those_of_a_release_and_what_they_are_built_on() -> None:
    script = (ROOT / "scripts/release-images").read_text()
    (published,) = re.findall(r"for image in ([a-z ]+); do publish", script)
    assert tuple(published.split()) == release_check.IMAGES
    files = "".join((ROOT / name).read_text() for name in ("compose.yaml", "compose.scale.yaml", "compose.edge.yaml"))
    assert {*re.findall(r"\$\{(\w+_IMAGE):-(?!from-source)", files)} == set(release_check.BASES)


# --- what the doctor says of it --------------------------------------------------------------------------------------


def rows_of(version: str, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Return what is said with the file of a release on a machine that has no image at all."""

    def docker(*arguments: str, seconds: float) -> str:
        raise Failed(f"Error: No such image: {arguments[-1]}")

    monkeypatch.setattr(images, "docker", docker)
    text = (
        compose_release().replace("x-release: 0.2.0", f"x-release: {version}").replace("    build: !reset null\n", "")
    )
    file = yaml.safe_load(text.replace("${MLFLOW_STACK_REGISTRY:-", "").replace("}/", "/"))
    services = {name: file["services"][name] for name in ("mlflow", "inference")}
    services["postgres"] = {"image": "postgres:17-trixie"}
    config = {"name": "test", "x-release": file["x-release"], "services": services}
    return list(images.look(Stack(config, ()), 1))


def test_the_doctor_has_the_images_of_a_release_pulled_and_makes_no_stand_in_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = rows_of(release_check.version(ROOT), monkeypatch)
    (pulled,) = [row for row in rows if row.mend == "docker compose pull --ignore-buildable"]
    assert pulled.status == FAIL
    named = ", ".join(f"{PREFIX}/{name}@{digest_of(name)}" for name in ("mlflow", "inference"))
    assert pulled.says.startswith(f"not on this machine: {named};")
    (other,) = [row for row in rows if row is not pulled]
    assert "not on this machine: postgres:17-trixie" in other.says


def test_the_doctor_warns_of_images_of_another_release_than_the_checkout_s(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = [row for row in rows_of("0.0.9", monkeypatch) if row.status == WARN]
    here = release_check.version(ROOT)
    assert row.says == f"compose.release.yaml has those of release 0.0.9, and this checkout is {here}"
    assert row.mend.startswith(f"git checkout v0.0.9, or compose.release.yaml of v{here}")


# --- the same commit, built twice ----------------------------------------------------------------------------------

EXPORTS = """
case $1 in
    create) echo "$2" ;;
    export) cat "$HERE/$2.tar" ;;
    rm) ;;
    *) exit 99 ;;
esac
"""


def image(folder: Path, name: str, time: int, **files: str) -> None:
    """Make what `docker export` gives of an image."""
    with tarfile.open(folder / f"{name}.tar", "w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(content), time
            archive.addfile(member, io.BytesIO(content.encode()))


def compared(folder: Path) -> "subprocess.CompletedProcess[str]":
    (folder / "docker").write_text(f"#!/bin/sh\n{EXPORTS}")
    (folder / "docker").chmod(0o755)
    environ = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "HERE": str(folder)}
    command = [str(ROOT / "scripts/compare-images"), "one", "other"]
    return subprocess.run(command, env=environ, capture_output=True, text=True)


def test_two_builds_that_differ_in_their_times_alone_are_said_to_be_the_same(tmp_path: Path) -> None:
    image(tmp_path, "one", 1, code="print(1)")
    image(tmp_path, "other", 2, code="print(1)")
    said = compared(tmp_path)
    assert said.returncode == 0, said.stderr
    assert "0 files with other content" in said.stdout
    assert "1 of 1 files with another time" in said.stdout


def test_files_that_two_builds_do_not_share_are_named(tmp_path: Path) -> None:
    image(tmp_path, "one", 1, code="print(1)", old="")
    image(tmp_path, "other", 1, code="print(2)", new="")
    said = compared(tmp_path)
    assert said.returncode == 1
    assert "1 files only in the one\n  /old\n" in said.stdout
    assert "1 files only in the other\n  /new\n" in said.stdout
    assert "1 files with other content\n  /code\n" in said.stdout
