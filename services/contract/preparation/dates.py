"""Dates and times: ISO 8601 in requests, microseconds since 1970 in UTC in between, datetime64[us] in a model's rows.

What names a time zone is counted in UTC, and what names none is taken as it stands.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
DTYPE: Final = "datetime64[us]"
# Day and month in either order before the year, and a time that ISO 8601 has too.
WRITTEN = re.compile(r"\s*(\d\d?)([-/.])(\d\d?)\2(\d{4})(?:[T ](\d\d:\d\d(?::\d\d)?))?\s*", re.ASCII)
EXAMPLE = "2026-03-15 or 2026-03-15T08:30:00Z"


def microseconds(text: str) -> int:
    """Return the moment that a text names; raise ValueError where it is none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        except OverflowError as error:  # at the edges of the calendar
            raise ValueError(str(error)) from error
    return (moment - EPOCH) // MICROSECOND


def is_one(text: str) -> bool:
    """Tell whether a text names a moment."""
    try:
        microseconds(text)
    except ValueError:
        return False
    return True


def rewritten(text: str) -> list[str]:
    """Return a date that people write with its year last as `microseconds` reads it; two where its first number may be the month."""
    if not (found := WRITTEN.fullmatch(text)):
        return []
    one, separator, other, year, time = found.groups()
    orders = [(other, one)] if separator == "." else [(other, one), (one, other)]
    texts = [f"{year}-{month:0>2}-{day:0>2}{f'T{time}' if time else ''}" for month, day in orders]
    return list(dict.fromkeys(filter(is_one, texts)))


def iso(moment: datetime) -> str:
    """Return a moment, in UTC or of no zone, as a text that `microseconds` reads; one at midnight as its day."""
    return moment.isoformat().removesuffix("+00:00").removesuffix("T00:00:00")


def moments(numbers: np.ndarray) -> np.ndarray:
    """Return microseconds, floats of which NaN is a missing one, as moments of DTYPE."""
    missing = np.isnan(numbers)
    found = np.where(missing, 0, numbers).astype(np.int64).astype(DTYPE)
    found[missing] = np.datetime64("NaT")
    return found


def moment_of(value: Any) -> np.datetime64:
    """Return a value of Python's or pandas' as a moment of DTYPE; raise ValueError where it is none."""
    if isinstance(value, str):
        return np.datetime64(microseconds(value), "us")
    if value is None or value != value:
        return np.datetime64("NaT", "us")
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value, "us")
