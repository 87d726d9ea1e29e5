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
            head = (parent / ".git" / "HEAD").read_text().strip()
        except OSError:
            continue
        return _commit_of(parent / ".git", head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    return None


def _commit_of(folder: Path, reference: str) -> str | None:
    try:
        return (folder / reference).read_text().strip()
    except OSError:
        pass
    try:
        lines = (folder / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in lines if line.endswith(f" {reference}")), None)


def code_sha256() -> str:
    """Return a digest of the trainer's files and the contract's: two trainings with the same one ran the same code."""
    digest = hashlib.sha256()
    for path in sorted([*FOLDER.rglob("*.py"), *FOLDER.with_name("contract").rglob("*.py")]):
        digest.update(path.relative_to(FOLDER.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
