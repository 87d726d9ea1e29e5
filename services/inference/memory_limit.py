"""The container's memory: a limit that cannot work is refused, and what the kernel ends for it is named.

Without a container, or without a limit on it, there is nothing to say.
"""

from dataclasses import dataclass
from pathlib import Path

from inference.errors import SettingsError

MIB = 1024 * 1024
# What the least service takes, in MiB: with the iris model a container was charged 70 and another 36 for each worker, by
# its control group. Added are 90 for the process that checks a new version, and 9 for each worker to load it aside.
SERVICE_MIB = 160
WORKER_MIB = 45
# Where a container sees its limit and how many of its processes the kernel ended for it, of either kind of control group.
CGROUPS = (
    ("memory.max", "memory.events"),
    ("memory/memory.limit_in_bytes", "memory/memory.oom_control"),
)


@dataclass(frozen=True)
class Memory:
    """What the control group says of the memory of this container."""

    limit: int
    """bytes"""
    kills: Path
    """the file with the line `oom_kill NUMBER`"""

    @classmethod
    def of_container(cls, root: Path = Path("/sys/fs/cgroup")) -> "Memory | None":
        """Return the memory of the container that this process is in, None where it has no limit."""
        for limit, kills in CGROUPS:
            try:
                if (found := (root / limit).read_text().strip()) != "max":
                    return cls(int(found), root / kills)
            except OSError:  # no container, or not of this kind
                continue
        return None

    def killed(self) -> int:
        """Return how many processes the kernel has ended for memory so far."""
        try:
            counts = dict(line.split() for line in self.kills.read_text().splitlines())
        except OSError:  # it is looked at when a worker died, and must not be what ends the others
            return 0
        return int(counts.get("oom_kill", 0))


def check(memory: Memory | None, workers: int) -> None:
    """Raise SettingsError where the limit is below what so many workers take before there is any request."""
    least = SERVICE_MIB + workers * WORKER_MIB
    if memory and memory.limit < least * MIB:
        raise SettingsError(
            f"INFERENCE_MEMORY is {memory.limit // MIB}m; INFERENCE_WORKERS={workers} takes at least {least}m"
        )


class Watch:
    """Tells when the kernel has ended processes for memory since it was asked last."""

    def __init__(self, memory: Memory | None) -> None:
        self._memory = memory
        self._known = memory.killed() if memory else 0

    def news(self) -> str | None:
        """Return what there is to say of it, with the setting to change; None where nothing has happened."""
        if self._memory is None or (killed := self._memory.killed()) <= self._known:
            return None
        self._known = killed
        return (
            f"a process of the service was ended by the kernel for memory: INFERENCE_MEMORY is "
            f"{self._memory.limit // MIB}m; raise it, or lower INFERENCE_WORKERS or INFERENCE_MAX_BODY_MB"
        )
