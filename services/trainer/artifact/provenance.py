"""Where a model comes from: the commit of this code, a digest of what really ran, and the image that it ran in."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

# In a checkout the repository is above services/; the image has the few files of .git that name the commit (Dockerfile).
FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Provenance:
    """What made a model; None for what is not known."""

    git_commit: str | None
    code_sha256: str
    image: str | None

    def known(self) -> dict[str, str]:
        """Return what is known, by its names."""
        return {name: text for name, text in asdict(self).items() if text}


def provenance(image: str | None) -> Provenance:
    """Return the commit, the digest of the trainer's code, and the image's name."""
    return Provenance(git_commit(), code_sha256(), image)


def git_commit() -> str | None:
    """Return the commit that is checked out, None outside of a repository; it says nothing of uncommitted changes."""
    for parent in FOLDER.parents[:2]:
        try:
            folder = _git_folder(parent / ".git")
            head = (folder / "HEAD").read_text().strip()
        except OSError:
            continue
        return _commit_of(folder, head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    return None


def _git_folder(path: Path) -> Path:
    """Return the folder that .git is, or that it names: in a worktree and a submodule it is a file; raise OSError."""
    if path.is_dir():
        return path
    return path.parent / path.read_text().strip().removeprefix("gitdir: ")


def _commit_of(folder: Path, reference: str) -> str | None:
    try:  # of a worktree the branches are where those of the repository are
        shared = folder / (folder / "commondir").read_text().strip()
    except OSError:
        shared = folder
    try:
        return (shared / reference).read_text().strip()
    except OSError:
        pass
    try:
        lines = (shared / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in lines if line.endswith(f" {reference}")), None)


def code_sha256(folder: Path = FOLDER) -> str:
    """Return a digest of the trainer's files and the contract's: two trainings with the same one ran the same code."""
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.py"), *folder.with_name("contract").rglob("*.py")]):
        digest.update(path.relative_to(folder.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
