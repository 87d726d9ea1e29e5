"""When a signal that came within a block takes effect."""

import signal

import pytest
from trainer.cli.imports import importing
from trainer.signals import SIGNALS, Held, Interrupted


def _work(number: signal.Signals, at_once: bool, came: list[str]) -> None:
    with Held() as held, held.let_through(at_once) as end_if_told:
        signal.raise_signal(number)
        came.append("first")
        end_if_told()
        came.append("second")


@pytest.mark.parametrize(("at_once", "done"), [(True, []), (False, ["first"])])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_block_at_once_or_where_the_block_asks(
    number: signal.Signals, at_once: bool, done: list[str]
) -> None:
    came: list[str] = []
    with pytest.raises(Interrupted, match=number.name):
        _work(number, at_once, came)
    assert came == done


def _import(number: signal.Signals, came: list[str]) -> None:
    with importing():
        signal.raise_signal(number)
        came.append("imported")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_while_modules_are_imported_takes_effect_afterwards(number: signal.Signals) -> None:
    came: list[str] = []
    with pytest.raises(Interrupted, match=number.name):
        _import(number, came)
    assert came == ["imported"]


def test_afterwards_signals_do_what_they_did_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Held() as held, held.let_through(at_once=True):
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before
