"""How much memory is left, and whether a table has room in it."""

from pathlib import Path

from trainer.errors import DataError

# A training holds the table, its two parts and the prepared features at once.
COPIES = 3
# What the steps after the reading, and the process that draws, still take whatever the table is.
RESERVE = 250 * 1024 * 1024
# Where a container sees its own limit and use, of either kind of control group.
CGROUPS = tuple(
    (Path("/sys/fs/cgroup", limit), Path("/sys/fs/cgroup", use))
    for limit, use in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    )
)
MEMINFO = Path("/proc/meminfo")
# Of what is unpacked, where nobody knows how much memory there is.
MOST = 4 * 1024**3


def check(path: Path, size: int, needed: float) -> None:
    """Refuse a file whose training would need more memory than is left: told now, and not by the kernel's killer."""
    needed, free = needed + RESERVE, left()
    if free is not None and needed > free:
        raise DataError(
            f"{path} has {size / 1e6:.0f} MB and needs about {needed / 1e6:.0f} MB of memory to train on; "
            f"{free / 1e6:.0f} MB are left (TRAINER_MEMORY in .env is the container's limit)"
        )


def most_unpacked() -> int:
    """Return how many bytes of a packed file there is room for, beside the table that they become."""
    free = left()
    return MOST if free is None else max(0, free - RESERVE) // (1 + COPIES)


def most_files() -> int:
    """Return how many bytes of a version's files there is room for, beside what loading and trying them takes."""
    free = left()
    return MOST if free is None else free // (1 + COPIES)


def left() -> int | None:
    """Return how many bytes this process may still take: of its container, else of the machine; None where unknown."""
    found = []
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:  # not on Linux
        return None
    for limit, use in CGROUPS:
        try:
            if (most := limit.read_text().strip()) == "max":
                continue
            cached = next(
                int(line.split()[1])
                for line in limit.with_name("memory.stat").read_text().splitlines()
                if line.startswith("inactive_file ")
            )
            found.append(int(most) - int(use.read_text()) + cached)
        except (OSError, StopIteration):  # no container, or not of this kind
            continue
    return min(found) if found else None
