"""The rows for people, a line each, and for programs."""

import json
from collections import Counter
from collections.abc import Sequence

# What a terminal would obey, in names of others: made visible. The contract's own way needs nothing but Python.
from contract.display import visible

from doctor.records import FAIL, OK, WARN, Row

MOST = 600


def text(rows: Sequence[Row]) -> str:
    """Return a line for each row, and one that counts them."""
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{row.status:<4}  {row.name:<{width}}  {visible(_told(row), MOST)}" for row in rows]
    counts = Counter(row.status for row in rows)
    return "\n".join([*lines, f"{counts[OK]} ok, {counts[WARN]} warn, {counts[FAIL]} FAIL"])


def _told(row: Row) -> str:
    return f"{row.says}  ->  {row.mend}" if row.mend else row.says


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as a JSON list of objects with name, status, says and mend."""
    return json.dumps([row.told() for row in rows])


def of_json(content: str) -> list[Row]:
    """Return the rows that `as_json` has made a text of; raise ValueError, TypeError for any other."""
    return [Row(**row) for row in json.loads(content)]
