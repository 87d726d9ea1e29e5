"""Which commit a model was made by, as the files of a repository say."""

from pathlib import Path

import pytest
from trainer.artifact import provenance

COMMIT = "5e04c393a1b2c3d4e5f60718293a4b5c6d7e8f90"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The .git of a checkout that has this code in it, still to be filled."""
    monkeypatch.setattr(provenance, "FOLDER", tmp_path / "checkout" / "services" / "trainer")
    return tmp_path / "checkout" / ".git"


def test_the_commit_of_a_branch_and_of_a_detached_head_is_found(git: Path) -> None:
    assert provenance.git_commit() is None
    write(git, HEAD="ref: refs/heads/main", refs__heads__main=COMMIT)
    assert provenance.git_commit() == COMMIT
    write(git, HEAD="f" * 40)
    assert provenance.git_commit() == "f" * 40


def test_the_commit_of_a_packed_branch_is_found(git: Path) -> None:
    write(git, HEAD="ref: refs/heads/main")
    (git / "packed-refs").write_text(f"# pack-refs with: peeled\n{'0' * 40} refs/heads/old\n{COMMIT} refs/heads/main\n")
    assert provenance.git_commit() == COMMIT


def test_the_commit_of_a_worktree_is_found_in_the_repository_that_it_belongs_to(git: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository" / ".git"
    write(repository, HEAD="ref: refs/heads/main", refs__heads__main="0" * 40, refs__heads__side=COMMIT)
    write(repository / "worktrees" / "side", HEAD="ref: refs/heads/side", commondir="../..")
    git.parent.mkdir()
    git.write_text(f"gitdir: {repository / 'worktrees' / 'side'}\n")
    assert provenance.git_commit() == COMMIT


def test_a_checkout_whose_repository_is_elsewhere_has_no_commit(git: Path) -> None:
    git.parent.mkdir()
    git.write_text("gitdir: /nowhere/at/all\n")
    assert provenance.git_commit() is None
