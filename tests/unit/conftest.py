"""Functions and fakes, in this process."""

import gc

import pytest

gc.disable()  # until all is imported: what a module consists of lives as long as the run


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through a million objects of imported modules again and again."""
    gc.freeze()
    gc.enable()
