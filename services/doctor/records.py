"""What the doctor says: rows, each of one thing that was looked at."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Row:
    """One thing that was looked at; `mend` is what a person types or writes, empty where nothing is to be done."""

    name: str
    status: str
    says: str
    mend: str = ""

    def told(self) -> dict[str, str]:
        """Return it as JSON has it."""
        return asdict(self)


class NotLookedAt(Exception):
    """Something cannot be looked at; the message says why, and is no more than a warning: another row has the cause."""


Look = Callable[[], Iterable[Row]]
