"""What the processes of a stack hold and what its stores have, looked at from the host. Needs root, and changes nothing."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.compose import LONG_RUNNING, docker

Sample = dict[str, dict[str, float]]
"""what is counted → of what → how much"""
MEMORY, DESCRIPTORS, THREADS, AT_WORK = "memory, MB", "open files and connections", "threads", "files at work"
STORED, DISK = "rows, objects, lines of /metrics", "on disk, MB"
LEVELS, STORES = (MEMORY, DESCRIPTORS, THREADS, AT_WORK), (STORED, DISK)
# Where a container writes as it works, beside what it stores.
WORK_PLACES = {"inference": ("/cache", "/tmp"), "mlflow": ("/scratch", "/tmp"), "minio": ("/tmp",)}  # noqa: S108
DATABASE = (
    "SELECT pg_database_size('mlflow') / 1e6, (SELECT sum(n_live_tup) FROM pg_stat_user_tables), "
    "(SELECT sum(size) FROM pg_ls_waldir()) / 1e6"
)


def look(ids: Mapping[str, str]) -> Sample:
    """Return what is held now; `ids` is service → container. The lines of /metrics are not among it."""
    containers = {service: json.loads(docker("inspect", ids[service]))[0] for service in LONG_RUNNING}
    found: Sample = {panel: {} for panel in (*LEVELS, *STORES)}
    for service, container in containers.items():
        pid = int(container["State"]["Pid"])
        for panel, amount in zip((MEMORY, DESCRIPTORS, THREADS), _held(pid), strict=True):
            found[panel][service] = amount
        for place in WORK_PLACES.get(service, ()):
            found[AT_WORK][f"{service} {place}"] = len(list(_sizes(Path(f"/proc/{pid}/root{place}"))))
        found[DISK][f"log of {service}"] = sum(file.stat().st_size for file in _logs(container)) / 1e6
    objects = list(_sizes(Path(f"/proc/{containers['minio']['State']['Pid']}/root/data/mlflow")))
    found[STORED]["objects"], found[DISK]["bucket"] = len(objects), sum(objects) / 1e6
    database, rows, wal = map(float, _asked(ids["postgres"], DATABASE).split("|"))
    found[STORED]["rows"], found[DISK]["database"], found[DISK]["write-ahead log"] = rows, database, wal
    return found


def _held(pid: int) -> tuple[float, int, int]:
    """Return megabytes, open descriptors and threads of a container's processes.

    The memory is what the kernel cannot take back: pages of files, which come and go with what else runs, are left out.
    """
    kilobytes = descriptors = threads = 0
    for process in _processes(pid):
        with suppress(OSError):  # it has just ended
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
            sizes = {name: int(size) for name, size, *_ in map(str.split, lines)}
            kilobytes += sizes["Pss_Anon:"] + sizes["Pss_Shmem:"]
            descriptors += len(os.listdir(f"/proc/{process}/fd"))
            threads += len(os.listdir(f"/proc/{process}/task"))
    return kilobytes / 1024, descriptors, threads


def _processes(pid: int) -> list[int]:
    """Return init of a container and all below it: a health check, which Docker starts beside, is none of them."""
    found = [pid]
    for process in found:  # which grows as it goes
        with suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _sizes(folder: Path) -> Iterator[int]:
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield os.lstat(os.path.join(where, name)).st_size


def _logs(container: Mapping[str, Any]) -> list[Path]:
    path = Path(container["LogPath"])
    return list(path.parent.glob(f"{path.name}*"))


def _asked(postgres: str, query: str) -> str:
    return docker("exec", postgres, "psql", "--username=postgres", "--dbname=mlflow", "-Atc", query)
