"""How the numbers of a column are written: 47.400,50 · $47.4 · 6.02% · (2.7) · 3- · 38.2 kg."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
from contract.missing import stands_for_none

from trainer.data.files.form import DECIMALS, THOUSANDS, Form

# Values of a column that are looked at to tell what it is.
LOOKED_AT = 500
# Of those that have a digit, how many have to be numbers of one kind; of all, how many have to have one.
ALIKE, WITH_DIGITS = 0.9, 0.5
FIRST = 50
MOST_UNITS = 6
CODES = (
    "USD|EUR|Euro|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|BRL|MXN|ZAR|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|TRY|RUB|UAH|ILS|AED|SAR|THB|SGD|HKD|TWD"
    r"|KRW|IDR|MYR|PHP|Rs\.?|[Kk]r\.?|S?Fr\.?|zł|Kč|Ft|US\$|R\$|A\$|C\$|S\$|HK\$|NZ\$"
)
SIGNS = "$€£¥₹₽₩₺₫฿₴₪"
MONEY = rf"[{SIGNS}]|{CODES}"
UNIT = rf"{MONEY}|%|‰|°[CF]?|[^\W\d_][\w/²³µ^·]{{0,14}}(?: [^\W\d_]{{1,10}})?|[µ][^\W\d_]"
# What stands for no cents: 40.- or 40,- or 40/-.
CENTS = r"(?:[.,]-{1,2}|/-)?"
# A negative number, 40- or 40- EUR. Before a word it is a hyphen: 5-star, 12-Mar.
MINUS = r"(?:-(?= |\)|$))?"
WRITTEN = re.compile(
    rf"(?P<outside>{MONEY})? ?(?P<open>\()? ?[-+]? ?(?P<before>{MONEY}|[%‰])? ?[-+]? ?(?P<digits>[0-9][0-9.,' ]*[0-9]|[0-9]|[.,][0-9]+)"
    rf"(?P<power>[eE][-+]?[0-9]+)?{CENTS}{MINUS} ?(?P<after>{UNIT})? ?(?P<close>\))?"
)
SHARES = frozenset("%‰")
# What thousands, millions and more are written by, with a currency or without.
POWERS = frozenset(["k", "K", "M", "Mio", "Mio.", "mn", "B", "bn", "Bn", "Mrd", "Tsd", "T"])
CURRENCY = re.compile(MONEY)
# Blanks, minus signs and apostrophes as word processors set them.
ODD = {
    "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2007": " ", "\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-", "\u2019": "'",
}  # fmt: skip
# A number with one mark, of which another column tells whether it is that of decimals.
ONE_MARK = re.compile(r"[0-9]+(?:[.,][0-9]+)?")
PLAIN = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
ODDITIES = str.maketrans(ODD)


@dataclass(frozen=True)
class Style:
    """The marks in the digits of a number."""

    decimal: str
    thousands: str

    @cached_property
    def pattern(self) -> str:
        """What such digits are, in regular expressions of Python's and of Arrow's."""
        decimal, mark = re.escape(self.decimal), re.escape(self.thousands)
        # 12,34,567 is as usual in India as 1,234,567 is elsewhere.
        grouped = rf"|[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}" if mark else ""
        return rf"(?:(?:[0-9]+{grouped})(?:{decimal}[0-9]+)?|{decimal}[0-9]+)"

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    def value(self, digits: str) -> float | None:
        """Return the number that digits are, None where they are not of this style."""
        if not self._compiled.fullmatch(digits):
            return None
        return float(digits.replace(self.thousands, "").replace(self.decimal, "."))

    def values(self, digits: list[str]) -> list[float | None]:
        """Return the number of each; none at all where not nearly all are of this style, which is mostly soon seen."""
        found: list[float | None] = []
        others = 0
        for text in digits:
            found.append(value := self.value(text))
            others += value is None
            if len(digits) - others < ALIKE * len(digits):
                return []
        return found


STYLES = [Style(decimal, thousands) for decimal in DECIMALS for thousands in THOUSANDS if decimal != thousands]


@dataclass(frozen=True)
class Written:
    """How the numbers of a column are written."""

    style: Style | None
    """None where they may be of several, that give other numbers"""
    digits: list[str]
    before: str = ""
    after: str = ""
    is_plain: bool = False
    """whether all of them are as a computer writes them"""
    has_singular: bool = False
    """whether some have "month" after them, where others have "months" """
    units: list[str] = field(default_factory=list)
    """of which each number has one, where there are several: such a column stays text"""
    both: list[str] = field(default_factory=list)
    """digits with a decimal comma and with a point, where some have one and some the other: nobody knows which is which"""

    def is_for(self, decimal: str | None) -> bool:
        """Tell whether they are for people: what a computer wrote, others read, unless pandas was told of another mark."""
        return not self.is_plain or (decimal == "," and "." in "".join(self.digits))

    @property
    def evidence(self) -> str | None:
        """The decimal mark that this column shows the file to have."""
        marks = set("".join(self.digits)) & set(",.")
        return self.style.decimal if self.style and marks else None

    def styled(self, form: Form, decimal: str | None) -> Style | None:
        """Return the style by what is said, or known of the file, None where it stays in doubt."""
        return self.style or _style(self.digits, form, decimal)

    @property
    def is_money(self) -> bool:
        """Whether the unit is a currency, which some leave out."""
        return _is_money((self.before, self.after))

    @property
    def endings(self) -> list[str]:
        """What stands after a number: a unit, and its singular where some have that."""
        return [self.after, *([self.after[:-1]] if self.has_singular else [])]

    def words(self, style: Style) -> str:
        """Say how they are written."""
        unit = " ".join(filter(None, (self.before, self.after)))
        has = "".join(self.digits)
        said = [f"decimal {style.decimal!r}"] if style.decimal == "," and "," in has else []
        said += [f"thousands {style.thousands!r}"] if style.thousands and style.thousands in has else []
        return ", ".join([*said, *([f"in {unit}"] if unit else [])]) or "signs and brackets"


def _style(digits: list[str], form: Form, decimal: str | None = None) -> Style | None:
    """Return the style that most digits are of, None where another one as good gives other numbers."""
    good = {
        style: values
        for style in STYLES
        if form.mark in (None, style.decimal)
        and form.thousands in (None, style.thousands)
        and decimal in (None, style.decimal)
        and (values := style.values(digits))
    }
    if not good:
        return None
    best = min(good, key=lambda style: good[style].count(None))
    for values in good.values():
        if any(None not in pair and pair[0] != pair[1] for pair in zip(good[best], values, strict=True)):
            return None
    return best


def told(column: pd.Series, form: Form) -> Written | None:
    """Tell how a text column's numbers are written, None where it has none."""
    texts = _some(column)
    given = [text.strip(" \t") for text in texts if any(map(str.isdecimal, text))]
    if len(given) <= WITH_DIGITS * len(texts):
        return None
    with_digits = [text.translate(ODDITIES).strip() for text in given]
    # Most columns of text show what they are at once.
    if not any(map(WRITTEN.fullmatch, with_digits[:FIRST])):
        return None
    found = [
        match
        for text in with_digits
        if (match := WRITTEN.fullmatch(text)) and bool(match["open"]) == bool(match["close"])
    ]
    unit, has_singular = _unit(found)
    alike = {unit} | ({("", "")} if _is_money(unit) else set()) | ({(unit[0], unit[1][:-1])} if has_singular else set())
    digits = [match["digits"] for match in found if _around(match) in alike]
    if len(digits) < ALIKE * len(with_digits):
        return _of_several_units(found, len(with_digits))
    style = _style(digits, form)
    # What can only have the other mark has it, whatever is said.
    if style is None and form.mark and form.thousands != "":
        style = _style(digits, Form())
    if style is None and not any(_style(digits, form, decimal) for decimal in DECIMALS):
        both = _with_both_marks(digits)
        return Written(None, digits, both=both) if both else None
    return Written(style, digits, *unit, is_plain=all(map(PLAIN.fullmatch, given)), has_singular=has_singular)


def _some(column: pd.Series) -> list[str]:
    """Return some of the texts that may have a number in them."""
    # Without looking at all values, where a part of them has enough that are there.
    step = len(column) // (10 * LOOKED_AT)
    present = (column.iloc[::step] if step > 1 else column).dropna()
    if step > 1 and len(present) < LOOKED_AT:
        present = column.dropna()
    step = len(present) // LOOKED_AT
    some = (present.iloc[::step] if step > 1 else present).tolist()[:LOOKED_AT]
    return [text for text in some if not stands_for_none(text) and any(map(str.isalnum, text))]


def _with_both_marks(digits: list[str]) -> list[str]:
    """Return one number with a comma and one with a point, where each has at most one mark; nothing where all have the same."""
    if not all(map(ONE_MARK.fullmatch, digits)):
        return []
    found = [next((text for text in digits if mark in text), None) for mark in DECIMALS]
    return [text for text in found if text] if all(found) else []


def _around(match: re.Match[str]) -> tuple[str, str]:
    """Return what is before a number and after it."""
    return match["outside"] or match["before"] or "", match["after"] or ""


def _of_several_units(found: list[re.Match[str]], count: int) -> Written | None:
    """Tell numbers that have one of a few units each from other text, such as the numbers of houses."""
    units = {" ".join(filter(None, _around(match))) for match in found}
    # "12" and "12a" are houses, but "950" and "1.2k" are amounts, and "0.3" and "30%" shares.
    are_some = len(units) > 1 and (units - {""} <= POWERS or units - {""} <= SHARES)
    has_units = are_some or ("" not in units and any(len(unit) > 1 or not unit.isalpha() for unit in units))
    is_so = has_units and len(found) >= ALIKE * count and 1 < len(units) <= MOST_UNITS
    return Written(None, [], units=sorted(unit or "none" for unit in units)) if is_so else None


def _unit(found: list[re.Match[str]]) -> tuple[tuple[str, str], bool]:
    """Return what most numbers have before and after them, and whether some have its singular.

    Of a currency, which some leave out, it is also what few have.
    """
    counts = Counter(map(_around, found))
    money = list(filter(_is_money, counts))
    unit = money[0] if len(money) == 1 else max(counts, key=lambda unit: counts[unit], default=("", ""))
    before, after = unit
    if (before, f"{after}s") in counts and len(after) > 2:
        return (before, f"{after}s"), True
    return unit, after.endswith("s") and len(after) > 3 and (before, after[:-1]) in counts


def _is_money(unit: tuple[str, str]) -> bool:
    return CURRENCY.fullmatch("".join(unit)) is not None
