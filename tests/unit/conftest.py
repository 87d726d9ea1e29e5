"""Functions and fakes, in this process."""

import gc
from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

gc.disable()  # until all is imported: what a module consists of lives as long as the run


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through a million objects of imported modules again and again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute small tables in one thread: several that wait for each other spin, and take up to fifteen times the time."""
    with threadpool_limits(1):
        yield
