"""Dates as people write them in files: ISO 8601, or day, month and year in an order that all of a column's values tell.

Nothing is guessed for a single value: where no value says which of two numbers is the month, an option does.
"""

import re

import pandas as pd
from contract.preparation.dates import DTYPE, is_one

from trainer.data.wishes import DAY_FIRST, MONTH_FIRST

# What a value of a column of dates looks like, quickly looked at.
LIKE_ONE = re.compile(
    r"\s*(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{4}-\d{2}|\d{1,2}[-. ][A-Za-z]{3,9}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})"
)
TIME = r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d{1,9})?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?"
ORDERED = rf"\s*(?P<one>\d{{1,2}})(?P<separator>[-/.])(?P<other>\d{{1,2}})(?P=separator)(?P<year>\d{{4}}){TIME}\s*"
# Year first, but not as ISO 8601 has it; and months by their English names.
OTHER_FORMS = (
    "%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d %H:%M:%S",
    "%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%d-%B-%Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y%m%d",
)  # fmt: skip
SAMPLE = 100


def look_like_dates(values: pd.Index) -> bool:
    """Tell whether most of some different texts may be dates."""
    sample = values[:SAMPLE]
    return len(sample) > 0 and sum(LIKE_ONE.match(text) is not None for text in sample) > 0.5 * len(sample)


def parsed(values: pd.Index, order: str | None) -> tuple[pd.Series, str | None]:
    """Return different texts as dates of DTYPE, NaT for what is none; and how they are written where that is not ISO 8601.

    `order` is DAY_FIRST, MONTH_FIRST or None. Raises ValueError, with what to do, where day and month cannot be told apart.
    """
    texts = pd.Series(values, index=values, dtype="str")
    found = _utc(pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True))
    if found.notna().mean() > 0.5:
        return found, None if is_one(values[0].strip()) else f"such as {values[0]!r}"
    parts = texts.str.extract(rf"^{ORDERED}$")
    if parts["one"].notna().mean() > 0.5:
        order = order or _order(parts)
        return _of_parts(parts, order), f"{order.replace('-', ' ')}, such as {values[0]!r}"
    for form in OTHER_FORMS:
        found = _utc(pd.to_datetime(texts.str.strip(), format=form, errors="coerce", utc=True))
        if found.notna().mean() > 0.5:
            return found, f"such as {values[0]!r}"
    return pd.Series(pd.NaT, index=values).astype(DTYPE), None


def _utc(found: pd.Series) -> pd.Series:
    naive: pd.Series = found.dt.tz_localize(None).astype(DTYPE)
    return naive


def _order(parts: pd.DataFrame) -> str:
    one, other = (pd.to_numeric(parts[name]) for name in ("one", "other"))
    if (one > 12).any() != (other > 12).any():
        return DAY_FIRST if (one > 12).any() else MONTH_FIRST
    first = parts.index[0]
    if (one > 12).any():
        both = ", ".join(map(repr, (parts.index[one > 12][0], parts.index[other > 12][0])))
        raise ValueError(f"has dates of which some have the day first and some the month: {both}")
    if (parts["separator"].dropna() == ".").all():
        return DAY_FIRST
    raise ValueError(f"has dates such as {first!r}, of which no value tells the day from the month")


def _of_parts(parts: pd.DataFrame, order: str) -> pd.Series:
    day, month = ("one", "other") if order == DAY_FIRST else ("other", "one")
    half = parts["half"].str[0].str.lower()
    hour = pd.to_numeric(parts["hour"]).fillna(0)
    hour = hour.where(half.isna(), hour % 12) + (half == "p") * 12
    numbers = {
        "year": pd.to_numeric(parts["year"]),
        "month": pd.to_numeric(parts[month]),
        "day": pd.to_numeric(parts[day]),
        "hour": hour,
        "minute": pd.to_numeric(parts["minute"]).fillna(0),
        "second": pd.to_numeric(parts["second"].str.replace(",", ".")).fillna(0),
    }
    is_one = parts["one"].notna()
    made = pd.Series(pd.NaT, index=parts.index).astype(DTYPE)
    if is_one.any():
        frame = pd.DataFrame(numbers)[is_one]
        made[is_one] = pd.to_datetime(frame, errors="coerce").astype(DTYPE)
    return made
