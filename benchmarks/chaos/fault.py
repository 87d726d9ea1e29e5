"""What a fault is: a name, and what does it to a stack and returns when it is undone; it fails where the stack did not do as it should."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.compose import Stack

Fault = tuple[str, Callable[[Stack], object]]

HOLD = 10
"""seconds that a fault lasts which has to be undone"""


def held(fault: AbstractContextManager[object], seconds: float = HOLD) -> None:
    """Let a fault last."""
    with fault:
        time.sleep(seconds)


def expect(holds: bool, what: str) -> None:
    """Fail, saying what there is in place of what should be."""
    if not holds:
        raise AssertionError(what)
