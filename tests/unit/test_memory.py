"""The container's memory: limits that cannot work, and processes that the kernel ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inference.errors import SettingsError
from inference.memory_limit import MIB, SERVICE_MIB, WORKER_MIB, Memory, Watch, check

FILES = {
    2: ("memory.max", "memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill {}\n"),
    1: ("memory/memory.limit_in_bytes", "memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"),
}


@pytest.fixture(params=FILES, ids="cgroup v{}".format)
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that writes what the kernel shows of a container: its limit, and how many processes it ended."""
    limit, events, content = FILES[request.param]

    def shows(most: int, killed: int = 0) -> Memory | None:
        (tmp_path / limit).parent.mkdir(exist_ok=True)
        (tmp_path / limit).write_text(f"{most}\n")
        (tmp_path / events).write_text(content.format(killed))
        return Memory.of_container(tmp_path)

    return shows


def test_a_limit_that_cannot_work_is_refused_with_the_least_that_does(container: Callable[..., Any]) -> None:
    least = SERVICE_MIB + 4 * WORKER_MIB
    with pytest.raises(SettingsError, match=f"^INFERENCE_MEMORY is 120m; INFERENCE_WORKERS=4 takes at least {least}m$"):
        check(container(120 * MIB), 4)
    with pytest.raises(SettingsError):
        check(container(least * MIB - 1), 4)
    check(container(least * MIB), 4)


def test_the_default_limit_is_enough_for_the_default_number_of_workers(container: Callable[..., Any]) -> None:
    shown = container(1536 * MIB)
    check(shown, 2)
    assert shown.limit == 1536 * MIB


def test_without_a_limit_nothing_is_refused(container: Callable[..., Any], tmp_path: Path) -> None:
    assert Memory.of_container(tmp_path / "no container") is None
    check(None, 64)
    container(1)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory/memory.limit_in_bytes").parent.mkdir(exist_ok=True)
    (tmp_path / "memory/memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    check(Memory.of_container(tmp_path), 64)


def test_a_process_that_the_kernel_ended_is_told_once_with_the_setting(container: Callable[..., Any]) -> None:
    watch = Watch(container(300 * MIB, killed=2))
    assert watch.news() is None
    container(300 * MIB, killed=3)
    news = watch.news()
    assert news is not None
    assert news.startswith("a process of the service was ended by the kernel for memory: INFERENCE_MEMORY is 300m; ")
    assert watch.news() is None


def test_a_count_that_cannot_be_read_is_no_news(container: Callable[..., Any], tmp_path: Path) -> None:
    watch = Watch(container(300 * MIB))
    for file in (tmp_path / "memory.events", tmp_path / "memory/memory.oom_control"):
        file.unlink(missing_ok=True)
    assert watch.news() is None
    assert Watch(None).news() is None
