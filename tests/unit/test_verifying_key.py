"""A service must not go on with what it checked with a key that is not in force any more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inference.verification.key import KeyWatch


@pytest.fixture
def watch(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that writes the key, None for none, lets the service look, and tells how often it was ended."""
    ended: list[None] = []
    path = tmp_path / "signing-key.pub"
    path.write_text("the key of the start")
    key = KeyWatch(path, lambda: ended.append(None))

    def look(content: str | None) -> int:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        key.pause(0)
        return len(ended)

    return look


def test_a_key_that_becomes_another_one_ends_the_service_once(watch: Callable[..., Any]) -> None:
    assert watch("the key of the start") == 0
    assert watch("another key") == 1
    assert watch("another key") == 1


def test_a_key_that_is_lost_and_comes_back_ends_nothing(watch: Callable[..., Any]) -> None:
    assert watch(None) == 0
    assert watch("the key of the start") == 0


def test_a_key_that_comes_after_the_service_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "signing-key.pub"
    ended: list[Any] = []
    key = KeyWatch(path, lambda: ended.append(None))
    path.write_text("the first key")
    key.pause(0)
    assert ended == []
    path.write_text("another key")
    key.pause(0)
    assert ended == [None]
