"""Functions and fakes, in this process."""

import gc
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SELDOM = 50_000  # objects made between two looks at the youngest; by default every 700, which takes a tenth of the run
gc.disable()  # until all is imported: what a module consists of lives as long as the run
import skops.io  # noqa: E402, F401 - before all others, as in a training: it looks at each module that is there, for each of its types


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through a million objects of imported modules again and again."""
    gc.freeze()
    gc.set_threshold(SELDOM)
    gc.enable()


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the marks that are asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.unhurried)


@pytest.fixture(scope="session")
def folder_numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def tmp_path(
    tmp_path_factory: pytest.TempPathFactory, folder_numbers: Iterator[int], request: pytest.FixtureRequest
) -> Path:
    """Make a folder as pytest does, but without a look at all those before: thousands, which takes a twentieth of the run."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder = tmp_path_factory.getbasetemp() / f"{next(folder_numbers)}-{name}"
    folder.mkdir(mode=0o700)
    return folder
