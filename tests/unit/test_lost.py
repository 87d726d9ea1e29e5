"""What a version has lost, so that nobody can serve it any more; told by names and a tag, without reading a file."""

from typing import Any

import pytest
from trainer.tracking.version_store import what_is_lost

WHOLE = {"MLmodel", "model.skops", "model.sig", "identity.json"}


@pytest.mark.parametrize(
    ("files", "signed_by", "lost"),
    [
        (WHOLE, "ours", None),
        (None, "ours", None),
        (WHOLE - {"model.sig"}, None, None),
        (set(), "ours", "its files"),
        (set(), None, "its files"),
        (WHOLE - {"model.sig"}, "ours", "its signature"),
        (WHOLE, "another", "the key that it is signed with"),
        (None, "another", "the key that it is signed with"),
    ],
)
def test_a_version_has_lost_what_it_once_had_and_not_what_it_never_had(
    files: set[Any] | set[str] | None, signed_by: str | None, lost: str | None
) -> None:
    assert what_is_lost(files, signed_by, "ours") == lost
