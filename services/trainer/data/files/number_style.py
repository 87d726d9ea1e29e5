"""How the numbers of a column are written: 47.400,50 · $47.4 · 6.02% · (2.7) · +3 · 38.2 kg."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
from contract.missing import MISSING_WORDS

from trainer.data.files.form import DECIMALS, THOUSANDS, Form

# Values of a column that are looked at to tell what it is.
LOOKED_AT = 500
# Of those that have a digit, how many have to be numbers of one kind; of all, how many have to have one.
ALIKE, WITH_DIGITS = 0.9, 0.5
FIRST = 50
MOST_UNITS = 6
CODES = "USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|BRL|MXN|ZAR|SEK|NOK|DKK|PLN|CZK|HUF|TRY|RUB|Rs|US\\$|R\\$|A\\$|C\\$"
SIGNS = "$€£¥₹₽₩₺₫฿₴₪"
MONEY = rf"[{SIGNS}]|{CODES}"
UNIT = rf"{MONEY}|%|‰|°[CF]?|[^\W\d_][\w/²³µ^·]{{0,14}}(?: [^\W\d_]{{1,10}})?|[µ][^\W\d_]"
WRITTEN = re.compile(
    rf"(?P<open>\()? ?[-+]? ?(?P<before>{MONEY})? ?[-+]? ?(?P<digits>[0-9][0-9.,' ]*[0-9]|[0-9]|[.,][0-9]+)(?P<power>[eE][-+]?[0-9]+)? ?"
    rf"(?P<after>{UNIT})? ?(?P<close>\))?"
)
# What thousands, millions and more are written by, with a currency or without.
POWERS = frozenset(["k", "K", "M", "Mio", "Mio.", "mn", "B", "bn", "Bn", "Mrd", "Tsd", "T"])
CURRENCY = re.compile(MONEY)
# Blanks, minus signs and apostrophes as word processors set them.
ODD = {
    "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2007": " ", "\u2212": "-", "\u2019": "'",
}  # fmt: skip
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
    units: list[str] = field(default_factory=list)
    """of which each number has one, where there are several: such a column stays text"""

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

    def words(self, style: Style) -> str:
        """Say how they are written."""
        unit = " ".join(filter(None, (self.before, self.after)))
        has = "".join(self.digits)
        said = [f"decimal {style.decimal!r}"] if style.decimal == "," and "," in has else []
        said += [f"thousands {style.thousands!r}"] if style.thousands and style.thousands in has else []
        return ", ".join([*said, *([f"in {unit}"] if unit else [])]) or "signs and brackets"


def _style(digits: list[str], form: Form, decimal: str | None = None) -> Style | None:
    """Return the style that most digits are of, None where another one as good gives other numbers."""
    values = {
        style: [style.value(text) for text in digits]
        for style in STYLES
        if form.mark in (None, style.decimal)
        and form.thousands in (None, style.thousands)
        and decimal in (None, style.decimal)
    }
    good = [style for style, found in values.items() if len(found) - found.count(None) >= ALIKE * len(found)]
    if not good:
        return None
    best = min(good, key=lambda style: values[style].count(None))
    for other in good:
        if any(None not in pair and pair[0] != pair[1] for pair in zip(values[best], values[other], strict=True)):
            return None
    return best


def told(column: pd.Series, form: Form) -> Written | None:
    """Tell how a text column's numbers are written, None where it has none."""
    # Without looking at all values, where a part of them has enough that are there.
    present = column.iloc[:: max(1, len(column) // (10 * LOOKED_AT))].dropna()
    present = present if len(present) >= LOOKED_AT else column.dropna()
    some = present.iloc[:: max(1, len(present) // LOOKED_AT)][:LOOKED_AT].tolist()
    texts = [text for text in some if text not in MISSING_WORDS and any(map(str.isalnum, text))]
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
    unit = _unit(found)
    alike = (unit, ("", "")) if _is_money(unit) else (unit,)
    digits = [match["digits"] for match in found if (match["before"] or "", match["after"] or "") in alike]
    if len(digits) < ALIKE * len(with_digits):
        return _of_several_units(found, len(with_digits))
    style = _style(digits, form)
    # What can only have the other mark has it, whatever is said.
    if style is None and form.mark and form.thousands != "":
        style = _style(digits, Form())
    if style is None and not any(_style(digits, form, decimal) for decimal in DECIMALS):
        return None
    return Written(style, digits, *unit, is_plain=all(map(PLAIN.fullmatch, given)))


def _of_several_units(found: list[re.Match[str]], count: int) -> Written | None:
    """Tell numbers that have one of a few units each from other text, such as the numbers of houses."""
    units = {" ".join(filter(None, (match["before"], match["after"]))) for match in found}
    # "12" and "12a" are houses, but "950" and "1.2k" are amounts.
    are_powers = units - {""} <= POWERS and len(units) > 1
    has_units = are_powers or ("" not in units and max(map(len, units), default=0) > 1)
    is_so = has_units and len(found) >= ALIKE * count and len(units) <= MOST_UNITS
    return Written(None, [], units=sorted(unit or "none" for unit in units)) if is_so else None


def _unit(found: list[re.Match[str]]) -> tuple[str, str]:
    """Return what most numbers have before and after them; of a currency, which some leave out, also what few have."""
    counts = Counter((match["before"] or "", match["after"] or "") for match in found)
    money = list(filter(_is_money, counts))
    return money[0] if len(money) == 1 else max(counts, key=lambda unit: counts[unit], default=("", ""))


def _is_money(unit: tuple[str, str]) -> bool:
    return CURRENCY.fullmatch("".join(unit)) is not None
