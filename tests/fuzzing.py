"""How long tests that search for inputs search: a short form in a test run, FUZZ_TIMES as long in `make fuzz`."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
IS_SHORT = TIMES == 1


def searching(examples: int, **options: Any) -> settings:
    """Return Hypothesis' settings for so many examples in a test run: there the same each time, so that CI is no lottery."""
    return settings(max_examples=examples * TIMES, derandomize=IS_SHORT, deadline=None, **options)


def fuzz(examples: int, **options: Any) -> Callable[[Any], Any]:
    """Mark a test of Hypothesis as one that searches for inputs, with so many examples in a test run."""
    return lambda test: pytest.mark.fuzz(searching(examples, **options)(test))
