"""Say what is missing for a release, one line each; the exit code is 1 where anything is. What cannot be looked at is said, too.

    make release-check                     before the tag: what the commit needs
    make release-check ARGS=--published    after the images: the tag, their digests and their bills of materials

The version is that of pyproject.toml.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from runpy import run_path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "services"))  # of which the pages are made

from trainer.artifact.provenance import code_sha256  # noqa: E402 (the path above)

IMAGES = ("mlflow", "setup", "trainer", "inference", "predictions", "minio", "sso", "backup")
BASES = ("PYTHON_IMAGE", "DEBIAN_IMAGE", "GOLANG_IMAGE", "POSTGRES_IMAGE", "HAPROXY_IMAGE", "CADDY_IMAGE")
DIGEST = "sha256:[0-9a-f]{64}"
# Of the images: their processors, as Python calls them, and the Python of the base image.
ARCHITECTURES = ("x86_64", "aarch64")
IMAGES_PYTHON = "3.13"
ELSEWHERE = (
    "known vulnerabilities, which a database on the network knows: `AUDIT_REQUIRED=1 make audit`",
    "what the tag starts (release.yml): builds on the base images of the day, a start on ARM, signatures and the release's page",
    "whether a registry has the images: after it has, `make release-check ARGS=--published`",
)
OF_A_FIXTURE = ("repository", "password", "question.json", "answer.json", "registry.json")
# Page → what makes it of the code, and the command that a person runs.
PAGES = {
    "docs/configuration.md": ("scripts/configuration.py", "make configuration"),
    "docs/commands.md": ("scripts/commands.py", "make reference"),
    "docs/api.md": ("scripts/api.py", "make reference"),
}


def main(arguments: list[str]) -> int:
    """Print what is missing; return the exit code."""
    if arguments not in ([], ["--published"]):
        print(__doc__, file=sys.stderr)
        return 2
    number = version(ROOT)
    checks = PUBLISHED if arguments else BEFORE
    found = [line for check in checks for line in check(ROOT, number)]
    for line in found:
        print(f"release-check: {line}")
    for line in () if arguments else ELSEWHERE:
        print(f"release-check: not looked at: {line}")
    if not found:
        print(f"release-check: {number} has all that a release needs{'' if arguments else ' before its tag'}")
    return 1 if found else 0


def version(root: Path) -> str:
    """Return the version that a checkout is or will be."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


# --- before the tag --------------------------------------------------------------------------------------------------


def one_version(root: Path, number: str) -> Iterator[str]:
    """Yield where another version stands than in pyproject.toml."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", number):
        yield f"pyproject.toml: version {number!r} is none, such as 0.1.0"
    found = re.search(r'^VERSION = "(.+)"', (root / "services/inference/__init__.py").read_text(), re.M)
    if not found or found[1] != number:
        yield f"services/inference/__init__.py: VERSION is {found[1] if found else 'not there'}, pyproject.toml has {number}"


def changelog(root: Path, number: str) -> Iterator[str]:
    """Yield what the changelog's section of this version lacks."""
    sections = re.findall(
        r"^## \[(.+?)\](?: - (\S+))?\n(.*?)(?=^## |\Z)", (root / "CHANGELOG.md").read_text(), re.M | re.S
    )
    dated = {name: (day, text.strip()) for name, day, text in sections}
    if number not in dated:
        yield f"CHANGELOG.md: there is no section `## [{number}] - YYYY-MM-DD`"
        return
    day, text = dated[number]
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        yield f"CHANGELOG.md: the section [{number}] has no day, `## [{number}] - YYYY-MM-DD`"
    if not text:
        yield f"CHANGELOG.md: the section [{number}] is empty"
    if (newest := next(name for name in dated if name != "Unreleased")) != number:
        yield f"CHANGELOG.md: its newest version is {newest}, pyproject.toml has {number}"


def fixtures(root: Path, number: str) -> Iterator[str]:
    """Yield what is missing of the backups that all later code has to restore: this release's, and each earlier one's."""
    earlier = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (root / "CHANGELOG.md").read_text(), re.M)
    for release in dict.fromkeys([number, *earlier]):
        folder = root / "tests/fixtures" / f"release-{release}"
        for name in OF_A_FIXTURE:
            if not (folder / name).exists():
                yield f"tests/fixtures/release-{release}/{name} is missing; `.venv/bin/python -m tests.backups {release}` makes it"
    registry = root / "tests/fixtures" / f"release-{number}" / "registry.json"
    if registry.exists() and not git(root, "tag", "--list", f"v{number}"):  # once tagged, it is never made anew
        made_by = {tags.get("code_sha256") for _, tags in json.loads(registry.read_text())["versions"].values()}
        if made_by != {code_sha256(root / "services/trainer")}:
            yield f"tests/fixtures/release-{number} is of other code than this commit's; `.venv/bin/python -m tests.backups {number}` makes it anew"


def committed(root: Path, number: str) -> Iterator[str]:
    """Yield what is not committed, and whether the tag is taken by another commit."""
    for line in git(root, "status", "--porcelain").splitlines():
        yield f"{line[3:]} is not committed"
    if (tagged := git(root, "tag", "--list", f"v{number}")) and commit(root, tagged) != commit(root, "HEAD"):
        yield f"the tag v{number} is on another commit; raise `version` in pyproject.toml"


def generated(root: Path, number: str) -> Iterator[str]:
    """Yield the pages that are not what is made of the code."""
    for page, (script, command) in PAGES.items():
        if (root / page).read_text() != run_path(str(root / script))["page"]():
            yield f"{page} is not what the code says; `{command}` makes it anew"


def locked(root: Path, number: str) -> Iterator[str]:
    """Yield the locks that scripts/lock would change, in a copy of all that it reads."""
    names = git(root, "ls-files", "scripts/lock", "*.in", "*.txt").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes((root / name).read_bytes())
        command = ["env", f"UV={root}/.venv/bin/uv", "sh", f"{folder}/scripts/lock"]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            yield f"the locks were not looked at: scripts/lock ends with {made.stderr.strip().splitlines()[-1:]}"
            return
        for name in names:
            if (Path(folder) / name).read_bytes() != (root / name).read_bytes():
                yield f"{name} is not what its requirements.in asks for; `scripts/lock` makes it anew"


def packaged(root: Path, number: str) -> Iterator[str]:
    """Yield the packages of the images that the index has no wheel of for an architecture, or none with a hash of the lock.

    A lock has hashes alone: which of them is whose, the index knows.
    """
    asked = {}
    for lock in sorted((root / "services").glob("*/requirements.txt")):
        for architecture in ARCHITECTURES:
            platform = ("--python-version", IMAGES_PYTHON, "--python-platform", f"{architecture}-manylinux_2_40")
            command: list[str | Path] = [
                root / ".venv/bin/uv",
                "pip",
                "compile",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
            ]
            command += [*platform, "--format", "pylock.toml", lock]
            asked[lock, architecture] = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
    for (lock, architecture), process in asked.items():
        made, error = process.communicate()
        name = f"{lock.relative_to(root)}, for {architecture}"
        if process.returncode:
            yield f"{name}: {' '.join(error.split())}"
        else:
            yield from (f"{name}: {package}" for package in without_wheel(lock.read_text(), made))


def without_wheel(lock: str, resolved: str) -> Iterator[str]:
    """Yield the packages of a pylock.toml that have no wheel whose hash is in a lock."""
    known = set(re.findall(DIGEST, lock))
    for package in tomllib.loads(resolved)["packages"]:
        if not any(f"sha256:{wheel['hashes']['sha256']}" in known for wheel in package.get("wheels", ())):
            yield f"{package['name']} {package['version']} has no wheel whose hash is in the lock; `scripts/lock`"


def tested(root: Path, number: str) -> Iterator[str]:
    """Yield whether .ci/run has not passed on this commit."""
    green = root / "build/green"
    if not green.exists() or green.read_text().strip() != commit(root, "HEAD"):
        yield "no test run has passed on this commit; `.ci/run` runs all, and notes it in build/green"


# --- after the images ------------------------------------------------------------------------------------------------


def tag(root: Path, number: str) -> Iterator[str]:
    """Yield whether this commit does not have the version's tag."""
    if f"v{number}" not in git(root, "tag", "--points-at", "HEAD").split():
        yield f"this commit has no tag v{number}, and pyproject.toml has {number}"


def digests(root: Path, number: str) -> Iterator[str]:
    """Yield the images, base images and our own, that have no digest."""
    for base in BASES:
        if not re.search(rf"^{base}=\S+@{DIGEST}$", read(root / "release.env"), re.M):
            yield f"release.env: {base} has no digest; `scripts/base-images --digests >release.env`"
    for image in IMAGES:
        if not re.search(rf"^\S+/{image}@{DIGEST}$", read(root / "release.images"), re.M):
            yield f"release.images: {image} has no digest; `scripts/release-images PREFIX {number}`"
    if f"# release {number}" not in read(root / "release.images").splitlines():
        yield f"release.images is not of {number}; `scripts/release-images PREFIX {number}`"
    yield from pulled(root)


def pulled(root: Path) -> Iterator[str]:
    """Yield the images that compose.release.yaml does not have by their digests in release.images: those of compose.yaml, and of what it was made for.

    The others of a release are those of overlays, for which whoever uses one makes the file anew.
    """
    released = dict(re.findall(rf"^\S+/([a-z-]+)@({DIGEST})$", read(root / "release.images"), re.M))
    found = set(re.findall(rf"^ +image: \S+/([a-z-]+)@({DIGEST})$", read(root / "compose.release.yaml"), re.M))
    of_the_stack = re.findall(r"^ +image: \$\{COMPOSE_PROJECT_NAME\}/([a-z-]+)$", read(root / "compose.yaml"), re.M)
    for image in sorted({*of_the_stack, *(name for name, _ in found)}):
        if {digest for name, digest in found if name == image} != {released.get(image)}:
            yield f"compose.release.yaml: {image} is not what release.images has; `scripts/release-compose release.images`"


def bills(root: Path, number: str) -> Iterator[str]:
    """Yield the bills of materials that are missing, or are of other packages than those that are locked."""
    for image in (name for name in IMAGES if name != "backup"):  # Debian's packages alone
        bill, lock = root / f"build/sbom/{image}.cdx.json", root / f"services/{image}/requirements.txt"
        if not bill.exists():
            yield f"build/sbom/{image}.cdx.json is missing; `make sbom` makes it"
            continue
        listed = {f"{part['name']}=={part['version']}" for part in json.loads(bill.read_text())["components"]}
        for pin in sorted(set(re.findall(r"^([\w.-]+==[^\s;\\]+)", read(lock), re.M)) - listed):
            yield f"build/sbom/{image}.cdx.json: {pin} is not in it; `make sbom` makes it anew"


BEFORE: list[Callable[[Path, str], Iterator[str]]] = [
    one_version,
    changelog,
    fixtures,
    committed,
    generated,
    locked,
    packaged,
    tested,
]
PUBLISHED: list[Callable[[Path, str], Iterator[str]]] = [one_version, changelog, fixtures, tag, digests, bills]


def git(root: Path, *arguments: str) -> str:
    """Return what git says in a checkout."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def commit(root: Path, name: str) -> str:
    """Return the hash of the commit that a name stands for."""
    return git(root, "rev-parse", f"{name.strip()}^{{commit}}").strip()


def read(path: Path) -> str:
    """Return a file's text, none where it is not there."""
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
