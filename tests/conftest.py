"""Which tiers this machine can run. A tier that is left out is named in one line; REQUIRE_STACK=1 makes that a failure."""

import faulthandler
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from tests import chromium
from tests.compose import Stack

TESTS = Path(__file__).parent


def _lacks_docker() -> str | None:
    if shutil.which("docker") is None:
        return "there is no docker command"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            return f"`{' '.join(command)}` fails: {(result.stderr.strip() or result.stdout.strip()).splitlines()[-1]}"
    return None


def _left_out() -> dict[str, str]:
    """Return tier → reason. The browser looks at the stack, so it needs both."""
    docker, browser = _lacks_docker(), chromium.missing()
    reasons = {"stack": docker, "browser": docker or browser}
    return {tier: reason for tier, reason in reasons.items() if reason}


LEFT_OUT = _left_out()
STDERR = pytest.StashKey[int]()
FAILED = pytest.StashKey[bool]()
TEARDOWN_SECONDS = 600


def pytest_configure(config: pytest.Config) -> None:
    if LEFT_OUT and os.environ.get("REQUIRE_STACK") == "1":
        raise pytest.UsageError("REQUIRE_STACK=1, but " + "; ".join(f"{t}: {r}" for t, r in LEFT_OUT.items()))
    config.stash[STDERR] = os.dup(2)  # while tests run, 2 is pytest's file
    _save_processor_time(config)


# Not by fixtures: one for all tests takes a twentieth of what pytest does for each, and units are small.
def _save_processor_time(config: pytest.Config) -> None:
    """Let what tests start compute no more than it has to."""
    # BLAS's threads spin as they wait for each other: of a training they take a twentieth.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Docker's commands live for a second, of which a quarter goes into looking for garbage.
    os.environ.setdefault("GOGC", "400")
    # Python itself as python3: a version manager's stand-in takes seven times as long to find it.
    folder = TemporaryDirectory(prefix="python-")
    config.add_cleanup(folder.cleanup)
    Path(folder.name, "python3").symlink_to(Path(sys.executable).resolve())
    os.environ["PATH"] = f"{folder.name}:{os.environ['PATH']}"


def pytest_collection_finish() -> None:
    """Compute small tables in one thread, once BLAS is imported: several that wait for each other take up to fifteen times the time."""
    threadpool_limits(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """End the run, and say what each thread is at, where what a test leaves cannot be put away.

    The time limit of a test that has failed for its time is spent by then, so nothing else ends this.
    """
    if not item.stash.get(FAILED, False):
        return (yield)
    faulthandler.dump_traceback_later(TEARDOWN_SECONDS, exit=True, file=item.config.stash[STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if any(collection_path == TESTS / tier for tier in LEFT_OUT) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what was asked for by its name as well, which pytest does not ask the hook above about."""
    items[:] = [item for item in items if not any(item.path.is_relative_to(TESTS / tier) for tier in LEFT_OUT)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("LEFT_OUT_IS_TOLD") == "elsewhere":  # by another lane of scripts/test
        return
    for reason, tiers in groupby(sorted(LEFT_OUT, key=LEFT_OUT.__getitem__), key=LEFT_OUT.__getitem__):
        terminalreporter.write_line(f"The tests of {' and '.join(tiers)} were left out: {reason}", yellow=True)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, up from nothing, for all tests of a session; gone afterwards with all that it made."""
    stack = Stack(tmp_path_factory.mktemp("clone"), f"mlflow-stack-test-{os.getpid()}")
    try:
        stack.first_start = stack.script("start")
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="module")
def one_engine() -> Iterator[None]:
    """Ask one engine of DuckDB: each takes 13 ms to begin. Views are a connection's own; settings are not, and are put back."""
    import duckdb
    from inference.prediction_log.views import CONFIG

    engine = duckdb.connect(config=CONFIG)

    def connect(config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        assert config == CONFIG
        connection = engine.cursor()
        for setting in ("memory_limit", "threads", "disabled_optimizers"):
            connection.execute(f"reset {setting}")
        return connection

    with engine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(duckdb, "connect", connect)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the log of whatever container is not well to the report of a failed test."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and stack:
        report.sections.append(("containers that are not well", stack.guilty_logs() or "none"))
    return report
