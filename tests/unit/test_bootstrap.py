"""What a start does where nothing is in Production yet; how it trains is the trainer's own."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from trainer.artifact import signing
from trainer.cli import training
from trainer.errors import VersionError
from trainer.settings import Settings
from trainer.tracking import rest


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that starts where nothing ever was in Production, with what the training comes to."""

    def run(record: Any) -> None:
        monkeypatch.setattr(signing, "check_key", lambda _: None)
        monkeypatch.setattr(signing, "key_id", lambda _: "ours")
        for question in ("production", "last_in_production"):
            monkeypatch.setattr(rest, question, lambda *_: None)
        monkeypatch.setattr(training, "_train", lambda *_: record)
        training.bootstrap.callback.__wrapped__(Settings())

    return run


def test_a_first_model_that_is_promoted_is_a_start(bootstrap: Callable[..., Any]) -> None:
    assert bootstrap(SimpleNamespace(promoted=True)) is None


def test_a_start_whose_first_model_is_not_promoted_fails_and_says_why(bootstrap: Callable[..., Any]) -> None:
    record = SimpleNamespace(promoted=False, reason="its test accuracy 0.9667 is below the threshold of 0.9900")
    with pytest.raises(
        VersionError, match=r"nothing is in Production of .*: its test accuracy .* is below the threshold"
    ):
        bootstrap(record)
