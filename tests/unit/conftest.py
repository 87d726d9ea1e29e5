"""Functions and fakes, in this process."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute small tables in one thread: several that wait for each other spin, and take up to fifteen times the time."""
    with threadpool_limits(1):
        yield
