"""Dates as people write them in files: ISO 8601, or day, month and year in an order that all of a column's values tell.

Nothing is guessed for a single value: where no value says which of two numbers is the month, an option does.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np
import pandas as pd
from contract.preparation.dates import DTYPE, is_one

from trainer.data.columns.wishes import DAY_FIRST, MONTH_FIRST

WORD, NTH = r"[^\W\d_]{3,12}", r"(?:\.|st|nd|rd|th|er|[º°])?"
# What a value of a column of dates looks like, quickly looked at.
LIKE_ONE = re.compile(
    rf"\s*(\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}|\d{{1,2}}[-/.](19|20)\d{{2}}\s*$|\d{{4}}-\d{{2}}|([^\W\d_]{{2,12}}(-feira)?\.?,? )?(\d{{1,2}}{NTH}[-./ ] ?(de )?{WORD}|{WORD}\.? (de )?\d{{1,2}}))"
)
# What has a day, a time of day, a week or a quarter in it, and is none that anybody could read.
RESEMBLES = re.compile(
    r"(?<![\w:./-])(\d{1,4}([-/.])\d{1,2}\2\d{1,4}|\d{1,3}:\d{2}(:\d{2}([.,]\d+)?)?)(?![\w:./-])"
    rf"|^\s*\d{{1,2}}{NTH}[-./ ] ?(de )?{WORD}\.?,?[-./ ](del? )?(19|20)\d{{2}}\s*$"  # a month of whatever language
    r"|(?<!\w)(Q[1-4][-/ ]?\d{4}|\d{4}[-/ ]?(Q[1-4]|W\d{2}(-\d)?))(?!\w)|\d{4}年|(?<!\w)\d{8}T\d{4}"
)
# Longer texts have dates in them, and are none.
LONGEST = 40
TIME = (
    r"(?:(?:T|,? (?:- )?)\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d{1,9})?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"(?: ?Uhr)?)?"
)
ORDERED = (
    rf"\s*(?P<one>\d{{1,2}})(?P<separator>[-/.])(?P<other>\d{{1,2}})(?P=separator)(?P<year>\d{{4}}|\d{{2}}){TIME}\s*"
)
# Of the same languages as the months, and what stands there in its place: le 15 août.
WEEKDAY = (
    r"mon|tue|tues|wed|thu|thur|thurs|fri|sat|sun|monday|tuesday|wednesday|thursday|friday|saturday|sunday"
    r"|mo|di|mi|do|fr|sa|so|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag"
    r"|lu|ma|me|je|ve|lun|mar|mer|jeu|ven|sam|dim|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|le"
    r"|gio|sab|dom|lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica"
    r"|mié|mie|jue|vie|sáb|lunes|martes|miércoles|miercoles|jueves|viernes|sábado|sabado|domingo|el"
    r"|seg|ter|qua|qui|sex|segunda|terça|terca|quarta|quinta|sexta|wo|vr|za|zo|maandag|dinsdag|woensdag|donderdag|vrijdag|zaterdag|zondag"
)
NAMED = (
    rf"\s*(?:(?i:{WEEKDAY})(?:-feira)?\.?,? )?(?:(?P<one>\d{{1,2}}){NTH}[-/ ](?:de )?(?P<name>{WORD})\.?,?[-/ ](?:del? )?|(?P<first>{WORD})\.?[- ](?:de )?"
    rf"(?:(?P<second_one>\d{{1,2}}){NTH},? )?)(?P<year>\d{{4}}|\d{{2}}){TIME}\s*"
)
# A month alone begins on its first day. Before a point the zeros of some tell them from numbers.
MONTH = r"\s*(?P<month>0?[1-9]|1[0-2])[-/.](?P<year>(?:19|20)\d{2})\s*"
MONTH_WITH_POINT = re.compile(r"\s*(0[1-9]|1[0-2])\.(19|20)\d{2}\s*")
# Of English, German, French, Italian, Spanish, Portuguese and Dutch, each with its short forms, and without its accents.
MONTHS = {
    word: month
    for month, words in enumerate(
        (
            "jan january januar jänner janvier janv gennaio gen ene enero janeiro januari",
            "feb february februar février fevrier févr fevr fév fev febbraio febrero fevereiro februari",
            "mar march mär mrz märz marz maerz mars marzo março marco maart mrt", "apr april avril avr aprile abr abril",
            "may mai maggio mag mayo maio mei", "jun june juni juin giugno giu junio junho",
            "jul july juli juillet juil luglio lug julio julho", "aug august août aout agosto ago augustus",
            "sep sept september septembre settembre sett set septiembre setiembre setembro",
            "oct october okt oktober octobre ottobre ott octubre outubro out", "nov november novembre noviembre novembro",
            "dec december dez dezember décembre decembre déc dicembre dic diciembre dezembro",
        ),
        start=1,
    )
    for word in words.split()
}  # fmt: skip
# Beside a number these are no months more often: 3 out of 5, Gen 2, Mars 2020. Where a column has no other month, it has none,
# unless somebody says that it has dates.
OTHER_WORDS = frozenset({"gen", "mag", "marco", "mars", "out", "set"})
# Years of two digits are none after this one; but where some are up to it and none is after LATEST, they may be of either century:
# those from 21 to 54 are births, or when loans are due.
NEWEST, LATEST = 2049, 2079
# Between the last and the first of them, as numbers from 0 to 99 that go round, so many years lie at the least, and twice as many
# as in any other gap. Else it is by chance which one is the widest.
WIDE, WIDER = 5, 2
# Of a column, how many are dates at the least that might be ones.
NEARLY_ALL = 0.95
# Year first, but not as ISO 8601 has it.
OTHER_FORMS = ("%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d %H:%M:%S", "%Y%m%d")
SAMPLE = 100
# Of numbers' different values, from the lowest to the highest.
ENOUGH = 1000
# Fewer different numbers may be dates by chance: one in 27 of eight digits is.
FEW_DAYS = 10
# Digits that are dates, of 1900 to 2100, by how many there are.
DIGITS = {6: "%Y%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# Seconds since 1970 that are of 1980, or 1920, to 2100.
FIRST_SECOND, OF_1920, LAST_SECOND = 315_532_800, -1_577_923_200, 4_102_444_800
DAYS = "days as a spreadsheet counts them"
# What numbers may count, how many of it a second has, which one began 1970, and from which second on they may: a spreadsheet
# counts days from 1899-12-30, and among them there are births.
UNITS = {
    "seconds since 1970": (1, 0, FIRST_SECOND),
    "milliseconds since 1970": (1000, 0, FIRST_SECOND),
    DAYS: (1 / 86_400, 25_569, OF_1920),
}


class Ambiguous(ValueError):
    """Dates that can be read in several ways."""

    def __init__(self, said: str, ways: Sequence[str]) -> None:
        """Take what is ambiguous, as a sentence goes on after the column's name, and what an option says of it: one for each way."""
        super().__init__(said)
        self.ways = ways


def are_months_with_point(texts: Iterable[str]) -> bool:
    """Tell whether all texts are months such as 01.2023; 10.1952 and 11.2011 alone may be numbers."""
    found = [MONTH_WITH_POINT.fullmatch(text) for text in texts]
    return all(found) and any(one is not None and one[1].startswith("0") for one in found)


def look_like_dates(values: pd.Index) -> bool:
    """Tell whether most of some different texts may be dates."""
    sample = values[:SAMPLE]
    return len(sample) > 0 and sum(LIKE_ONE.match(text) is not None for text in sample) > 0.5 * len(sample)


def resemble_some(values: pd.Index) -> bool:
    """Tell whether most of some different texts look like dates, or times of day, however they are written."""
    sample = values[:SAMPLE]
    return len(sample) > 0 and sum(_resembles(text) for text in sample) > 0.5 * len(sample)


def _resembles(text: str) -> bool:
    words = {word.lower() for word in re.findall(WORD, text)} - OTHER_WORDS
    has_month = not words.isdisjoint(MONTHS) and re.search(r"\d", text) is not None
    return has_month or (len(text) <= LONGEST and RESEMBLES.search(text) is not None)


def digits_form(numbers: pd.Series) -> str | None:
    """Return how whole numbers such as 20260315 are dates: each of them is one, of 1900 to 2100; None where they are none."""
    low = numbers.min()
    count = next((n for n in DIGITS if 1900 * 10 ** (n - 4) <= low < 2101 * 10 ** (n - 4)), None)
    if count is None or numbers.max() >= 2101 * 10 ** (count - 4):  # as of nearly all, which is soon seen
        return None
    there = np.unique(numbers.dropna())
    if (there % 1 != 0).any():
        return None
    found = pd.to_datetime(pd.Series(there.astype(np.int64).astype(str)), format=DIGITS[count], errors="coerce")
    return DIGITS[count] if found.notna().all() else None


def are_days(numbers: pd.Series) -> bool:
    """Tell whether whole numbers are dates, of which so many different ones are none by chance."""
    return digits_form(numbers) is not None and numbers.nunique() >= FEW_DAYS


def unit(numbers: pd.Series) -> str | None:
    """Return what numbers may count, a key of UNITS; None where they are too small or too large for all of them."""
    low, high = numbers.min(), numbers.max()
    return next(
        (name for name, (n, at, first) in UNITS.items() if first * n + at <= low and high <= LAST_SECOND * n + at), None
    )


def of_numbers(numbers: pd.Series) -> pd.Series | None:
    """Return numbers such as 20260315, or those that count the time, as dates of DTYPE, NaT for NaN; None where they are none."""
    if form := digits_form(numbers):
        found: pd.Series = pd.to_datetime(numbers.astype("Int64").astype("str"), format=form, errors="coerce")
        return found.astype(DTYPE)
    if counted := unit(numbers):
        a_second, start, _ = UNITS[counted]
        # Of a day's fractions a spreadsheet has the milliseconds, and what is beyond them is none of the time's.
        digits = 3 if counted == DAYS else 6
        seconds = (numbers.astype("float64") - start).to_numpy() / a_second
        moments = np.round(seconds * 10**digits) * 10 ** (6 - digits)
        made = np.where(np.isnan(moments), 0, moments).astype(np.int64).astype(DTYPE)
        return pd.Series(made, index=numbers.index, name=numbers.name).mask(numbers.isna())
    return None


def resemble_days(numbers: pd.Series) -> bool:
    """Tell whether nearly all of some whole numbers are dates of six digits or eight, such as 260315, or as 20260315 beside a 0."""
    there = np.unique(numbers.dropna())
    if (there % 1 != 0).any():
        return False
    there = there[:: len(there) // ENOUGH + 1]
    texts = pd.Series(there.astype(np.int64).astype(str))
    found = [pd.to_datetime(texts.where(there >= 10101).str.zfill(6), format="%y%m%d", errors="coerce")]
    found += [pd.to_datetime(texts.where((there >= 19000101) & (there <= 21001231)), format="%Y%m%d", errors="coerce")]
    return any(days.notna().mean() >= NEARLY_ALL for days in found)


def are_some_if_wanted(values: pd.Index) -> bool:
    """Tell whether most of some different texts are dates where somebody says that they have some."""
    try:
        found, _ = parsed(values[:SAMPLE], None, is_wanted=True)
    except Ambiguous:
        return True
    return bool(found.notna().mean() > 0.5)


def parsed(
    values: pd.Index, order: str | None, last_year: int | None = None, *, is_wanted: bool = False
) -> tuple[pd.Series, str | None]:
    """Return different texts as dates of DTYPE, NaT for what is none; and how they are written where that is not ISO 8601.

    `order` is DAY_FIRST, MONTH_FIRST or None, `last_year` the last one that two digits stand for; `is_wanted` says that dates are
    expected, so that a word which may be a month is one. Raises Ambiguous where neither the values nor these tell which number is
    the day, or which century is meant.
    """
    texts = pd.Series(values, index=values, dtype="str")
    found = _utc(pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True))
    if found.notna().mean() > 0.5:
        return found, None if is_one(values[0].strip()) else f"such as {values[0]!r}"
    parts = texts.str.extract(rf"^{ORDERED}$")
    if parts["one"].notna().mean() > 0.5 and (parts := _without_versions(parts))["one"].notna().mean() > 0.5:
        until = "" if last_year is None else f",until-{last_year}"
        years = _full_years(parts["year"], last_year, "" if order is None else f"{order},")
        order = order or _order(parts, until)
        day, month = ("one", "other") if order == DAY_FIRST else ("other", "one")
        found = _of_parts(parts, years, parts[month], parts[day])
        return found, f"{order.replace('-', ' ')}, such as {values[0]!r}{_centuries(parts, found)}"
    if (found := _months_of(texts)).notna().mean() > 0.5:
        return found, f"such as {values[0]!r}, the first day of a month"
    parts, months = _named(texts, is_wanted)
    if months.notna().mean() > 0.5:
        found = _of_parts(parts, _full_years(parts["year"], last_year), months, parts["one"])
        return found, f"such as {values[0]!r}{_centuries(parts, found)}"
    for form in OTHER_FORMS:
        found = _utc(pd.to_datetime(texts.str.strip(), format=form, errors="coerce", utc=True))
        if found.notna().mean() > 0.5:
            return found, f"such as {values[0]!r}"
    return pd.Series(pd.NaT, index=values).astype(DTYPE), None


def _utc(found: pd.Series) -> pd.Series:
    naive: pd.Series = found.dt.tz_localize(None).astype(DTYPE)
    return naive


def _without_versions(parts: pd.DataFrame) -> pd.DataFrame:
    """Return the parts without those of "1.2.10", a version; with slashes, "3/4/24" is a date."""
    are_versions = parts["year"].str.len().eq(2) & parts["separator"].ne("/")
    if not are_versions.any():  # as mostly
        return parts
    are_versions &= parts["one"].str.len().eq(1) | parts["other"].str.len().eq(1)
    return parts.mask(are_versions) if are_versions.any() else parts


def _months_of(texts: pd.Series) -> pd.Series:
    """Return the first days of months such as 03/2026, NaT of what is none."""
    parts = texts.str.extract(rf"^{MONTH}$")
    if parts["month"].isna().all():
        return pd.Series(pd.NaT, index=texts.index).astype(DTYPE)
    parts = parts.apply(pd.to_numeric)
    found: pd.Series = pd.to_datetime(parts.assign(day=1), errors="coerce")
    return found.astype(DTYPE)


def _named(texts: pd.Series, is_wanted: bool) -> tuple[pd.DataFrame, pd.Series]:
    """Return the parts of dates whose months have names, and the months' numbers, NaN of what is none; a month alone begins on its first day."""
    parts = texts.str.extract(rf"^{NAMED}$")
    words = parts["name"].fillna(parts["first"]).str.lower()
    months = words.map(MONTHS)
    if not is_wanted and set(words[months.notna()]) <= OTHER_WORDS:
        months = months.mask(months.notna())
    one = parts["one"].fillna(parts["second_one"])
    is_vague = one.isna() & parts["year"].str.len().eq(2)  # "may 12"
    return parts.assign(one=one.fillna("1")), months.mask(is_vague)


def _order(parts: pd.DataFrame, until: str) -> str:
    """Return DAY_FIRST or MONTH_FIRST, as all values tell; `until` is what an option says beside it."""
    ways = [f"{order}{until}" for order in (DAY_FIRST, MONTH_FIRST)]
    one, other = (pd.to_numeric(parts[name]) for name in ("one", "other"))
    first = parts.index[parts["one"].notna()][0]
    has_points = (parts["separator"].dropna() == ".").all()
    if _may_begin_with_years(parts, bool(has_points)):
        raise Ambiguous(
            f"has dates such as {first!r}, of which no value tells the day from the year; with the year first, write 2026-03-15",
            ways,
        )
    if (one > 12).any() != (other > 12).any():
        return DAY_FIRST if (one > 12).any() else MONTH_FIRST
    if (one > 12).any():
        both = ", ".join(map(repr, (parts.index[one > 12][0], parts.index[other > 12][0])))
        raise Ambiguous(f"has dates of which some have the day first and some the month: {both}", ways)
    if has_points:
        return DAY_FIRST
    raise Ambiguous(f"has dates such as {first!r}, of which no value tells the day from the month", ways)


def _may_begin_with_years(parts: pd.DataFrame, has_points: bool) -> bool:
    """Tell whether dates may have the year first: they are ones then, too, and their last numbers differ as much as the first."""
    year = pd.to_numeric(parts["year"].dropna())
    if year.max() > 31:
        return False
    one, other = (pd.to_numeric(parts[name].dropna()) for name in ("one", "other"))
    if _days(2000 + one, other, year).notna().mean() < NEARLY_ALL or year.nunique() < one.nunique():
        return False
    # Of 01.03.24, 01.04.24, …, or 31.03.24, 30.04.24, … the day is the first one of its month, or the last. With points nobody
    # who means the year 2001 writes so; with slashes somebody might.
    days = _days(2000 + year, other, one)
    return not (has_points and ((one == 1).all() or days.dt.is_month_end.all()))


def _days(years: pd.Series, months: pd.Series, days: pd.Series) -> pd.Series:
    found: pd.Series = pd.to_datetime(pd.DataFrame({"year": years, "month": months, "day": days}), errors="coerce")
    return found


def _full_years(years: pd.Series, last_year: int | None, order: str = "") -> pd.Series:
    """Return years as numbers; those of two digits follow one another without the widest gap between them, up to NEWEST.

    `last_year` says up to which else. Raises Ambiguous where no gap is wide, and where two centuries are likely; `order` is what an
    option says before the year.
    """
    numbers = pd.to_numeric(years)
    if not (is_short := years.str.len().eq(2)).any():
        return numbers
    if last_year is None:
        last_year = _last_year(np.unique(numbers[is_short]), str(years.index[is_short][0]), order)
    return numbers.mask(is_short, last_year - (last_year - numbers) % 100)


def _last_year(there: np.ndarray, such: str, order: str) -> int:
    """Return the last of the years that different numbers from 0 to 99, in their order, stand for."""
    gaps = np.diff(there, append=there[0] + 100)
    widest = int(gaps.argmax())
    if gaps[widest] < max(WIDE, WIDER * np.delete(gaps, widest).max(initial=0)):
        raise Ambiguous(
            f"has years of two digits, such as in {such!r}, and no gap between them tells which is the last one",
            [f"{order}until-{date.today().year}"],
        )
    first = int(there[(widest + 1) % len(there)])
    last = first + (int(there[widest]) - first) % 100
    if 2000 + last <= NEWEST:
        return 2000 + last
    if 2000 + first <= NEWEST and 2000 + last <= LATEST:
        raise Ambiguous(
            f"has years of two digits, such as in {such!r}, which may be {1900 + first} to {1900 + last} or {2000 + first} to {2000 + last}",
            [f"{order}until-{century + last}" for century in (1900, 2000)],
        )
    return 1900 + last


def _centuries(parts: pd.DataFrame, found: pd.Series) -> str:
    """Say which years two digits were taken for."""
    is_short = parts["year"].str.len().eq(2)
    return f" (years {found[is_short].min().year} to {found[is_short].max().year})" if is_short.any() else ""


def _of_parts(parts: pd.DataFrame, years: pd.Series, month: pd.Series, day: pd.Series) -> pd.Series:
    numbers = {"year": years, "month": pd.to_numeric(month), "day": pd.to_numeric(day)}
    if parts["hour"].notna().any():
        numbers |= _times(parts)
    frame = pd.DataFrame(numbers)
    is_one = parts["year"].notna() & month.notna()
    made: pd.Series = pd.to_datetime(frame[is_one], errors="coerce").astype(DTYPE)
    return made.reindex(parts.index)


def _times(parts: pd.DataFrame) -> dict[str, pd.Series]:
    half = parts["half"].str[0].str.lower()
    hour = pd.to_numeric(parts["hour"]).fillna(0)
    return {
        "hour": hour.where(half.isna(), hour % 12) + (half == "p") * 12,
        "minute": pd.to_numeric(parts["minute"]).fillna(0),
        "second": pd.to_numeric(parts["second"].str.replace(",", ".")).fillna(0),
    }
