"""What each column is, by all of its values and by its name: a number, true or false, text, or nothing to learn from.

Nothing is decided by one value alone, each guess is said in a line, and what is doubtful is a fault that names the options
which decide it. Faults are collected: a file's columns are all looked at before any is refused.
"""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from contract.missing import MISSING_WORDS, PLACEHOLDERS
from contract.preparation.dates import DTYPE, iso
from contract.preparation.steps import folded
from contract.schema import LARGEST

from trainer.data.columns import dates, missing_words
from trainer.data.columns.wishes import Kind, Wish

# Fewer rows prove nothing about a column: its values may differ by chance.
FEW_ROWS = 20
# Of a column's values, how many are different in one that tells rows apart and nothing else.
NEARLY_ALL = 0.95
# Most of a column are numbers from here on; up to so few others they are mistakes, and beyond that the column is text.
MOST, MISTAKES = 0.5, 0.05
# A text column with more different values than this has no column for each: what its values go with is learnt instead.
MOST_CATEGORIES = 1000
# A text with so many words on average is written by people, one with fewer is a name or a code.
WORDS_OF_TEXT = 3.0
# Up to so many different ones are phrases to choose from, not free text.
FEW_PHRASES = 100
# With more different texts than this, nobody writes them by hand.
MOST_SPELLINGS = 20_000
# Beyond it not each whole number is a double.
EXACT = 2**53
SAMPLE = 1000
SHOWN = 4
DATES = frozenset({datetime.date, datetime.datetime, pd.Timestamp})
NAME_WORDS = re.compile(r"[A-ZÀ-Þ]+(?![a-zß-ÿ])|[A-ZÀ-Þ]?[a-zß-ÿ]+")
ID_WORDS = frozenset(
    {"id", "ids", "no", "nr", "num", "number", "nummer", "numero", "code", "key", "index", "idx", "uuid", "guid", "ref"}
    | {"reference", "sku", "isbn", "iban", "phone", "telephone", "mobile"}
)
# Where nothing tells the words of a name apart.
JOINED_ID = re.compile(
    r"(account|booking|case|client|customer|device|employee|invoice|item|loan|member|order|passenger|patient|person|product"
    r"|record|row|session|student|ticket|transaction|user)(id|no|nr|key)"
)
CODE_NAME = re.compile(r"(.* )?(zip|(zip|post|postal|pin) ?codes?|plz|postleitzahl)")
TIME_WORDS = frozenset(["at", "created", "datetime", "epoch", "time", "timestamp", "ts", "unix", "updated"])
# In English, Spanish, Italian, Portuguese and French; German and Dutch ones end in -datum.
DATE_WORDS = frozenset(
    {"date", "dates", "day", "birthday", "birthdate", "dob", "fecha", "dia", "día", "data", "giorno", "jour"}
)
DIGIT = re.compile(r"\d")
# No number begins so: a postcode, a telephone number.
LEADING_ZERO = re.compile(r"\s*(0\d+|\+\d{8,})\s*")
# A word in a text is between blanks, and has a letter.
WORD_OF_TEXT = re.compile(r"(?<!\S)\S*[^\W\d_]")
# What is left of a text without its digits, where it looks like numbers and is none: 40/100, ~40, 5'11", 1_000.
ONLY_SIGNS = re.compile(r"[^\w:-]*_?[^\w:-]*")


class Encoding(StrEnum):
    """What numbers a column of text becomes."""

    CATEGORIES = "categories"
    MANY = "many categories"
    PROSE = "free text"


@dataclass
class Verdict:
    """What a column is: typed values, or why it has none; and what there is to say of it."""

    kind: Kind | None = None
    values: pd.Series | None = None
    """float64, booleans (as objects where some are missing), text or datetime64[us]; None where the column is no feature"""
    counts: pd.Series | None = None
    """how often each text is there, the most frequent first; of text alone"""
    folded: bool = False
    """whether texts that differ in case or blanks alone are one"""
    remarks: list[str] = field(default_factory=list)
    fault: str | None = None
    """why the column cannot be trained on, as a sentence goes on after the file's name"""
    wrong: pd.Series | None = None
    """which rows are at fault, shape (rows,), bool; None where all are"""


def tell(column: pd.Series, wish: Wish, keep: bool, is_typed: bool) -> Verdict:
    """Say what a column is; `wish` and `keep` are what options say of it, `is_typed` whether the file knows its types."""
    name = str(column.name)
    if column.isna().all():
        return Verdict(remarks=[_left_out(name, "it has no values")])
    found = _typed(column, wish, is_typed)
    if found.values is None or wish.kind or keep:
        return found
    why = _no_feature(name, column, found)
    if why is None:
        return _with_spellings(found) if found.kind is Kind.TEXT else found
    return Verdict(remarks=[_left_out(name, f"{why} (--keep {name!r} takes it as a feature)")])


def _left_out(name: str, why: str) -> str:
    return f"column {name!r} is left out: {why}"


# --- types ---------------------------------------------------------------------------------------------------------


def _typed(column: pd.Series, wish: Wish, is_typed: bool) -> Verdict:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    types = set(column.dropna().map(type)) if pd.api.types.is_object_dtype(column) else set()
    if pd.api.types.is_bool_dtype(column.dtype) or (types and types <= {bool, np.bool_}):
        return Verdict(Kind.BOOLEAN, _booleans(column)) if wish.kind is None else _forced(column, wish)
    if isinstance(column.dtype, pd.StringDtype) or types == {str}:
        return _of_text(column.astype("str"), wish, is_typed)
    if pd.api.types.is_complex_dtype(column):
        return Verdict(fault=f"column {column.name!r} has complex numbers; expected real ones")
    if pd.api.types.is_numeric_dtype(column) or (types and types <= {Decimal, int, float}):
        if wish.kind is None and pd.api.types.is_numeric_dtype(column) and dates.are_days(column):
            return _days(column)
        return _numbers(column, wish) if wish.kind in (None, Kind.NUMBER) else _forced(column, wish)
    if pd.api.types.is_datetime64_any_dtype(column) or (types and types <= DATES):
        return _moments(column) if wish.kind in (None, Kind.DATE) else _forced(column, wish)
    if pd.api.types.is_timedelta64_dtype(column):
        return _refused(column, "has durations; leave it out ({drop}) or write numbers instead")
    kinds = ", ".join(sorted(kind.__name__ for kind in types)) or str(column.dtype)
    return _refused(column, f"has values of the types {kinds}; expected numbers or text ({{drop}} leaves it out)")


def _refused(column: pd.Series, words: str) -> Verdict:
    name = repr(str(column.name))
    return Verdict(fault=f"column {name} {words.format(drop=f'--drop {name}')}")


def _booleans(column: pd.Series) -> pd.Series:
    if column.isna().any():
        return column.astype(object).where(column.notna(), None)
    return column.astype(bool)


def _numbers(column: pd.Series, wish: Wish) -> Verdict:
    name, plain = str(column.name), pd.api.types.is_numeric_dtype(column)
    numbers = (column if plain else pd.to_numeric(column, errors="coerce")).astype("float64")
    low, high = numbers.min(), numbers.max()
    if not (plain and low >= -LARGEST and high <= LARGEST):
        wrong = ~((numbers.abs() <= LARGEST) | column.isna())
        if wrong.any() and wish.kind is None:
            return Verdict(fault=_expected("a finite number", name, "--number"), wrong=wrong)
        numbers = numbers.mask(wrong)
    if max(high, -low) > EXACT and are_whole(numbers):
        return Verdict(Kind.NUMBER, numbers, remarks=[_rounded(name)])
    return Verdict(Kind.NUMBER, numbers, remarks=[] if wish.kind else list(_perhaps_time(name, numbers)))


def _expected(what: str, name: str, option: str) -> str:
    """Say what was expected of a value, and which options decide otherwise."""
    return f"expected {what}; {option} {name!r} takes what is none as missing, --text {name!r} all as text"


def _perhaps_time(name: str, numbers: pd.Series) -> Iterator[str]:
    """Yield that numbers may be dates, or count the time, where their column is called so."""
    words = set(_words_of_name(name))
    is_date = not words.isdisjoint(DATE_WORDS) or any(word.endswith("datum") for word in words)
    if not is_date and words.isdisjoint(TIME_WORDS):
        return
    said, counted = f"column {name!r} is taken as numbers", dates.unit(numbers)
    if counted and (is_date or counted != dates.DAYS):
        yield f"{said}; if they are {counted}, --date {name!r} takes them as dates"
    elif is_date and dates.digits_form(numbers):
        yield f"{said}; if they are dates such as 20260315, --date {name!r} takes them as dates"
    elif is_date and dates.resemble_days(numbers):
        such = f"{numbers.dropna().iloc[0]:.15g}"
        yield f"{said}, which look like dates without separators, such as {such}; to have dates, write them as 2026-03-15"


def _days(column: pd.Series) -> Verdict:
    name, first, found = str(column.name), column.dropna().iloc[0], dates.of_numbers(column)
    if found is None:
        return Verdict(
            fault=f"column {name!r} has numbers such as {first:.15g}, which are neither dates such as 20260315 nor {' nor '.join(dates.UNITS)}; write "
            "dates as 2026-03-15"
        )
    such = f"{first:.15g} ({iso(found.dropna().iloc[0].to_pydatetime())})"
    said = f"column {name!r} has dates written such as {such}; predictions take ISO 8601 (--number {name!r})"
    return Verdict(Kind.DATE, found, remarks=[said])


def _rounded(name: str) -> str:
    return f"column {name!r} has whole numbers beyond 2^53, of which neighbours become one; if they are codes, --text {name!r}"


def _moments(column: pd.Series) -> Verdict:
    if pd.api.types.is_object_dtype(column):
        column = pd.to_datetime(column, utc=True, errors="coerce")
    if getattr(column.dt, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return Verdict(Kind.DATE, column.astype(DTYPE))


def _forced(column: pd.Series, wish: Wish) -> Verdict:
    """Take a column that the file has types for as something else."""
    if wish.kind is Kind.NUMBER and pd.api.types.is_bool_dtype(column):
        return Verdict(Kind.NUMBER, column.astype("float64"))
    if wish.kind is Kind.DATE and pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return _days(column)
    return _of_text(as_text(column), wish, is_typed=True)


def _plain_text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# --- text ----------------------------------------------------------------------------------------------------------


def _of_text(column: pd.Series, wish: Wish, is_typed: bool) -> Verdict:
    """Say what a column of texts is: its different values are looked at once each, and counted once."""
    counts = column.value_counts()
    found = _of_texts(column, counts, wish, is_typed)
    return replace(found, counts=counts) if found.kind is Kind.TEXT else found


def _of_texts(column: pd.Series, counts: pd.Series, wish: Wish, is_typed: bool) -> Verdict:
    wanted = wish.kind
    if wanted is Kind.TEXT:
        return Verdict(Kind.TEXT, column)
    if not is_typed and wanted is None and _are_boolean(counts.index):
        words = sorted(word for word in counts.index if word not in missing_words.BOOLEANS)
        return _with_gaps(Verdict(Kind.BOOLEAN, _booleans(column.map(missing_words.BOOLEANS).astype(object))), words)
    fillers = _fillers(counts.index)
    rest = counts.drop(fillers) if fillers else counts
    if rest.empty and len(counts) == 1:
        return Verdict(remarks=[_left_out(str(column.name), "it has no values")])
    others = rest[~_are_numbers(rest.index)]
    if wanted is Kind.NUMBER:
        return _with_gaps(
            _numbers(column.where(~column.isin([*fillers, *others.index])), wish), [*fillers, *others.index]
        )
    if wanted is Kind.DATE and others.empty and not rest.empty:
        numbers = pd.to_numeric(column.where(~column.isin(fillers)))
        if dates.of_numbers(numbers) is not None:
            return _with_gaps(_days(numbers), fillers)
    share = 1 - others.sum() / max(rest.sum(), 1)
    if wanted is Kind.DATE or (share < MOST and dates.look_like_dates(rest.index)):
        return _dates(column, rest, fillers, wish)
    if rest.empty or share < MOST or others.sum() == rest.sum():
        return _words(column, counts if rest.empty else rest)
    if others.empty:
        return _numbers_or_codes(column, rest, fillers)
    return _numbers_or_text(column, others, len(column.dropna()))


def _words(column: pd.Series, texts: pd.Series) -> Verdict:
    """Take a column as text, and say so where its texts look like dates, times or numbers."""
    name = str(column.name)
    text, said = f"column {name!r} is taken as text: {texts.index[0]!r} looks like", []
    if dates.resemble_some(texts.index):
        said = [f"{text} a date or a time, and is not read as one; {_way_to_dates(name, texts.index)}"]
    elif _resemble_numbers(texts.index):
        said = [f"{text} a number, and is not read as one; write numbers as 1234.5, and two of them in two columns"]
    return Verdict(Kind.TEXT, column, remarks=said)


def _way_to_dates(name: str, texts: pd.Index) -> str:
    """Say what is to be done for texts to be dates that look like ones and are not read."""
    if dates.are_some_if_wanted(texts):
        return f"--date {name!r} takes them as dates"
    return "write dates as 2026-03-15, and times as numbers"


def _resemble_numbers(values: pd.Index) -> bool:
    """Tell whether most of some different texts have digits, and beside them nothing but signs."""
    sample = [text for text in values[:SAMPLE] if any(map(str.isdecimal, text)) and not text.lstrip().startswith("+")]
    looks = (
        ONLY_SIGNS.fullmatch(rest) and (rest.strip(" .,") or not text.isascii())
        for text, rest in map(_without_digits, sample)
    )
    return len(values) > 0 and sum(map(bool, looks)) > MOST * min(len(values), SAMPLE)


def _without_digits(text: str) -> tuple[str, str]:
    return text, "".join("" if char.isdecimal() else char for char in text)


def _are_boolean(values: pd.Index) -> bool:
    """Tell whether different texts are truth values, but for words that stand for missing ones."""
    known = missing_words.BOOLEANS.keys() | MISSING_WORDS
    return len(values) <= len(known) and known.issuperset(values) and not MISSING_WORDS.issuperset(values)


def _fillers(values: pd.Index) -> list[str]:
    """Return those of some different texts that stand for a missing one, as contract.missing has it, quickly."""
    words = values.str.strip().str.lower()
    return list(values[values.isin(MISSING_WORDS) | words.isin(PLACEHOLDERS) | (words == "")])


def _are_numbers(values: pd.Index) -> np.ndarray:
    """Tell which of some different texts are numbers: shape (texts,), bool."""
    if len(values) > SAMPLE:
        # Where all are words or dates, as mostly, there is no need to look at each.
        some = pd.Series(values[:: len(values) // SAMPLE], dtype="str")
        if pd.to_numeric(some, errors="coerce").isna().all():
            return np.zeros(len(values), dtype=bool)
    found: np.ndarray = pd.to_numeric(pd.Series(values, dtype="str"), errors="coerce").notna().to_numpy()
    return found


def _dates(column: pd.Series, rest: pd.Series, fillers: list[str], wish: Wish) -> Verdict:
    """Say what a column is that looks like dates; `rest` counts its values but for the fillers."""
    name = str(column.name)
    try:
        found, written = dates.parsed(rest.index, wish.order, wish.last_year, is_wanted=wish.kind is Kind.DATE)
    except dates.Ambiguous as error:
        ways = " or ".join(f"--date {f'{name}={way}'!r}" for way in error.ways)
        return Verdict(fault=f"column {name!r} {error}; say which by {ways} (--text {name!r} takes it as text)")
    others = rest[found.isna()]
    if len(others) == len(rest) and wish.kind:
        fault = f"expected a date such as 2026-03-15; as none of {name!r} is one, --date says nothing of it"
        return Verdict(fault=fault, wrong=column.isin(rest.index))
    # As among numbers, words beside dates say nothing, and other things with digits that it is no column of them.
    if wish.kind is None and others.sum() > MISTAKES * rest.sum() and any(DIGIT.search(text) for text in others.index):
        return _words(column, rest)
    if wish.kind is None and len(others):
        return Verdict(fault=_expected("a date", name, "--date"), wrong=column.isin(others.index))
    remarks = [f"column {name!r} has dates written {written}; predictions take ISO 8601"] if written else []
    verdict = Verdict(Kind.DATE, _spread(found, column), remarks=remarks)
    return _with_gaps(verdict, [*fillers, *others.index])


def _spread(found: pd.Series, column: pd.Series) -> pd.Series:
    """Return for each of a column's texts the date that was found for it; NaT where none was."""
    places, texts = pd.factorize(column)
    moments = np.append(found.reindex(texts).to_numpy(DTYPE), np.datetime64("NaT", "us"))
    return pd.Series(moments[places], index=column.index, name=str(column.name))


def _numbers_or_codes(column: pd.Series, rest: pd.Series, fillers: list[str]) -> Verdict:
    name = str(column.name)
    if dates.are_months_with_point(rest.index):
        return _dates(column, rest, fillers, Wish())
    zero = next(filter(LEADING_ZERO.fullmatch, rest.index), None)
    if zero is not None or is_code_name(name):
        why = "that is what its name says"
        if zero is not None:
            why = f"some begin with {zero.strip()[0]}, such as {zero!r}"
        return Verdict(
            Kind.TEXT, column, remarks=[f"column {name!r} is taken for codes, as text: {why} (--number {name!r})"]
        )
    return _with_gaps(_numbers(column.where(~column.isin(fillers)), Wish()), fillers)


def _numbers_or_text(column: pd.Series, others: pd.Series, count: int) -> Verdict:
    """Decide on a column of which most are numbers: words and few others are mistakes, many with digits say that it is none."""
    name, rows = str(column.name), int(others.sum())
    if rows <= max(1, MISTAKES * count) or not any(DIGIT.search(text) for text in others.index):
        return Verdict(fault=_expected("a finite number", name, "--number"), wrong=column.isin(others.index))
    such = ", ".join(map(repr, others.index[:2]))
    said = (
        f"column {name!r} is taken as text: {rows} of {count} values are no numbers, such as {such} (--number {name!r})"
    )
    return Verdict(Kind.TEXT, column, remarks=[said])


def _with_gaps(found: Verdict, words: list[str]) -> Verdict:
    """Add to a verdict that words were taken for missing values."""
    if found.values is not None and words:
        found.remarks.append(missing_words.remark(str(found.values.name), found.values, _some(words)))
    return found


def _some(words: list[str]) -> list[str]:
    shown = sorted(words)
    return shown if len(shown) <= 2 * SHOWN else [*shown[: 2 * SHOWN], "…"]


def _with_spellings(found: Verdict) -> Verdict:
    """Say whether a column of text has values that differ in case or blanks alone, or blanks around them."""
    counts = found.counts
    if counts is None or len(counts) > MOST_SPELLINGS or encoding(found.values) is Encoding.PROSE:  # type: ignore[arg-type]
        return found
    groups: dict[str, list[str]] = {}
    for text in counts.index:
        groups.setdefault(folded(text), []).append(text)
    name = str(counts.index.name)
    option = f"(--text {name!r} takes them letter for letter)"
    if alike := next((texts for texts in groups.values() if len(texts) > 1), None):
        such = ", ".join(map(repr, alike[:SHOWN]))
        found.remarks.append(
            f"column {name!r} has values that differ in case or blanks alone, taken for one, such as {such} {option}"
        )
    elif any(text != text.strip() for text in counts.index):
        found.remarks.append(f"column {name!r} has blanks around its values, which count for nothing {option}")
    else:
        return found
    return replace(found, folded=True)


# --- nothing to learn from -----------------------------------------------------------------------------------------


def _no_feature(name: str, column: pd.Series, found: Verdict) -> str | None:
    """Say why a typed column is no feature: it tells rows apart, and nothing else; None where it is one."""
    if len(column) <= FEW_ROWS or (found.kind is Kind.NUMBER and not are_whole(column)):
        return None
    values: pd.Series = found.values  # type: ignore[assignment] # there are some, or this is not asked
    if found.kind is Kind.NUMBER:
        is_whole = pd.api.types.is_integer_dtype(column)
        numbers_rows = named_like_id(name) or (is_whole and _counts_up(values))
        return "it numbers the rows" if numbers_rows and _tells_apart(values, values.nunique()) else None
    if found.counts is not None and _tells_apart(values, len(found.counts)) and not is_prose(values):
        if dates.resemble_some(found.counts.index):
            such = repr(found.counts.index[0])
            return f"it looks like dates or times that are not read, such as {such}; {_way_to_dates(name, found.counts.index)}"
        if _resemble_numbers(found.counts.index):
            return f"it looks like numbers that are not read, such as {found.counts.index[0]!r}; write them as 1234.5"
        return "each row has a text of its own, like an id"
    return None


def _tells_apart(values: pd.Series, distinct: int) -> bool:
    return distinct > FEW_ROWS and distinct >= NEARLY_ALL * values.count()


def _counts_up(values: pd.Series) -> bool:
    return bool(values.iloc[0] in (0, 1) and (np.diff(values) == 1).all())


def named_like_id(name: str) -> bool:
    """Tell whether a column's name says that it tells rows apart: id, CustomerId, TransactionID, OrderNo, order number."""
    if not name.strip() or name.casefold().startswith("unnamed:"):
        return True
    words = _words_of_name(name)
    return bool(words) and (words[-1] in ID_WORDS or JOINED_ID.fullmatch(words[-1]) is not None)


def _words_of_name(name: str) -> list[str]:
    return [word.casefold() for word in NAME_WORDS.findall(name)]


def is_prose(values: pd.Series) -> bool:
    """Tell whether texts are written by people for people, of several words each."""
    sample = values.dropna().unique()[:SAMPLE]
    return len(sample) > 0 and sum(len(WORD_OF_TEXT.findall(text)) for text in sample) >= WORDS_OF_TEXT * len(sample)


def encoding(values: pd.Series) -> Encoding:
    """Say how a column of text is encoded, by the rows that are fitted on."""
    distinct = values.nunique()
    if distinct > FEW_PHRASES and is_prose(values):
        return Encoding.PROSE
    return Encoding.MANY if distinct > MOST_CATEGORIES else Encoding.CATEGORIES


def may_be_codes(column: pd.Series) -> bool:
    """Tell whether numbers may have been codes before somebody read them as numbers: they are whole."""
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return is_number and are_whole(column)


def are_whole(column: pd.Series) -> bool:
    """Tell whether all of a column are whole numbers, or texts that are."""
    if pd.api.types.is_integer_dtype(column):
        return True
    if not pd.api.types.is_float_dtype(column):
        column = pd.to_numeric(column, errors="coerce")
    values = column.to_numpy(dtype="float64")
    with np.errstate(invalid="ignore"):  # infinity is none
        return all(bool((part[~np.isnan(part)] % 1 == 0).all()) for part in (values[:SAMPLE], values[SAMPLE:]))


def is_code_name(name: str) -> bool:
    """Tell whether a column's name says that its numbers are codes: a postcode."""
    return CODE_NAME.fullmatch(" ".join(_words_of_name(name))) is not None


def as_text(column: pd.Series) -> pd.Series:
    """Return whole numbers as texts."""
    return column.map(_plain_text, na_action="ignore").astype("str")
