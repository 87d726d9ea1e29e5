"""Numbers as people write them become numbers.

What a column is, a sample of its values tells; then all of it is converted at once by Arrow. A value that is none of the kind
stays as it is, and is for the table to judge, like any word among numbers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
from contract.missing import stands_for_none
from pyarrow import compute

from trainer.data.files.form import Form
from trainer.data.files.number_style import CENTS, LOOKED_AT, ODD, Style, Written, told
from trainer.data.files.rows import Rows

# With no more distinct values than this a target is of classes, whose names stay as they are written.
FEW = 20
SHOWN = 4
# 40.- has no cents, and 40- is negative.
NO_CENTS, MINUS_BEHIND = r"([0-9])(?:[.,]-{1,2}|/-)", r"^-?([0-9.eE]+)-$"
# What is no class, as few as there are: it has a fraction.
FRACTION = r"[-+]?[0-9]+[.,][0-9]{1,2}"
# What Excel takes for text: a formula that gives one, or what begins with an apostrophe.
WRAPPED = r"""(?:="([^"]*)"|'([-+]?[0-9][0-9.,]*))"""


def decimal(sample: pd.DataFrame, separator: str, form: Form) -> tuple[str, list[str]]:
    """Return the decimal mark of a CSV file, by its first rows as text, and what is in doubt.

    That is "1.234" where semicolons separate, and no other column tells.
    """
    found = _found(sample, form)
    evidence = {written.evidence for written in found.values()} - {None}
    points = {
        name: written.digits
        for name, written in found.items()
        if not (written.style or written.both) and "." in "".join(written.digits)
    }
    is_doubtful = bool(points) and not evidence and separator == ";"
    return "," if evidence == {","} else ".", [_doubt(points)] if is_doubtful else []


def _found(frame: pd.DataFrame, form: Form) -> dict[str, Written]:
    """Return the columns of text that have numbers in them."""
    return {
        str(name): written
        for name, column in frame.items()
        if isinstance(column.dtype, pd.StringDtype)
        and name not in (*form.text, *form.drop)
        and not (name in form.words and name != form.quantity and _are_classes(column))
        and (written := told(column, form))
    }


def _are_classes(target: pd.Series) -> bool:
    """Tell whether a target has so few values that they are names of classes; numbers with a fraction are none."""
    texts = target.dropna().unique()
    return len(texts) <= FEW and not (
        any(re.fullmatch(FRACTION, text) for text in texts)
        and all(re.fullmatch(rf"{FRACTION}|[-+]?[0-9]+", text) for text in texts)
    )


def convert(rows: Rows, form: Form) -> Rows:
    """Return the rows with numbers for people as numbers, and what there is to say of them.

    A fault are columns in doubt, and values with digits in them that are not written as most of their column.
    """
    rows = _unwrapped(rows, form)
    told_of = _found(rows.frame, form)
    several = [
        f"{name!r} as text, for it has several units ({', '.join(told_of[name].units)})"
        for name in told_of
        if told_of[name].units
    ]
    mixed = {name: written.both for name, written in told_of.items() if written.both and name not in form.number}
    found = {name: written for name, written in told_of.items() if not (written.units or written.both)}
    mark = _mark(rows, found.values())
    styled = {
        name: written.styled(form, mark) or _usual(written, rows.separator)
        for name, written in found.items()
        if written.is_for(rows.decimal)
    }
    doubtful = {name: found[name].digits for name, style in styled.items() if style is None}
    styles = {name: style for name, style in styled.items() if style}
    columns = {name: _converted(rows.frame[name], found[name], style) for name, style in styles.items()}
    faults = [*map(_mixed, mixed, mixed.values()), *([_doubt(doubtful)] if doubtful else [])]
    wrong = {name: column for name, column in columns.items() if column.others.any() and name not in form.number}
    faults += [_wrong(rows, rows.frame[name], column, name in form.words) for name, column in wrong.items()]
    said = ", ".join(f"{name!r} ({found[name].words(style)})" for name, style in list(styles.items())[:SHOWN])
    remark = f"{len(styles)} column{'s' * (len(styles) > 1)} of numbers written for people: {said}{', …' * (len(styles) > SHOWN)}"
    return replace(
        rows,
        frame=rows.frame.assign(**{name: column.values for name, column in columns.items()}),
        words=rows.words | {name: column.words for name, column in columns.items() if column.words},
        faults=[*rows.faults, *faults],
        at_fault=rows.at_fault | wrong.keys() | mixed.keys(),
        remarks=[*rows.remarks, *([remark] if styles else []), *several],
    )


def _wrong(rows: Rows, given: pd.Series, column: "Converted", is_target: bool) -> str:
    """Say of a column which value is not written as the others are; of the target no option makes something else."""
    row, count = int(column.others.argmax()), int(column.others.sum())
    said = (
        f"{rows.place(row)}, column {given.name!r} is {given.iloc[row]!r}; expected a number as in the other rows, such as "
        f"{given[~column.others].dropna().iloc[0]!r} ({count} such row{'s' * (count > 1)})"
    )
    options = (
        f": --number {given.name!r} takes what is none as missing, --text {given.name!r} leaves the column as it is"
    )
    return said if is_target else said + options


def _mixed(name: str, both: list[str]) -> str:
    """Say of a column that its numbers have two decimal marks."""
    return (
        f"column {name!r} has numbers with a point and with a comma, such as {' and '.join(map(repr, both))}; write all of them in one "
        f"way (--text {name!r} leaves the column as it is, --number {name!r} takes those with a comma as missing)"
    )


def _unwrapped(rows: Rows, form: Form) -> Rows:
    """Return the rows without what tells Excel that a value is text: ="01234", or an apostrophe before a number."""
    frame = rows.frame
    found = [
        str(name)
        for name, column in frame.items()
        if isinstance(column.dtype, pd.StringDtype)
        and name not in (*form.text, *form.drop)
        and len(some := column.dropna().head(LOOKED_AT))
        and some.iloc[0][:1] in ("=", "'")
        and some.str.fullmatch(WRAPPED).all()
    ]
    if not found:
        return rows
    plain = {name: frame[name].str.replace(WRAPPED, r"\1\2", regex=True) for name in found}
    said = f"Excel's marks of text taken off in {', '.join(map(repr, found[:SHOWN]))}{', …' * (len(found) > SHOWN)}"
    return replace(rows, frame=frame.assign(**plain), remarks=[*rows.remarks, said])


def _mark(rows: Rows, found: Iterable[Written]) -> str | None:
    """Return the decimal mark that the columns which are in no doubt have in common, None where they have none."""
    evidence = {written.evidence for written in found} - {None}
    if rows.decimal and any(_has_fractions(column) for _, column in rows.frame.items()):
        evidence.add(rows.decimal)
    return evidence.pop() if len(evidence) == 1 else None


def _has_fractions(column: pd.Series) -> bool:
    return bool(pd.api.types.is_float_dtype(column) and (column.head(LOOKED_AT) % 1 > 0).any())


def _usual(written: Written, separator: str) -> Style | None:
    """Return the style of 1.234 where nothing speaks against a point in a decimal number."""
    has = "".join(written.digits)
    return Style(".", "") if "." in has and "," not in has and separator != ";" else None


def _doubt(columns: dict[str, list[str]]) -> str:
    """Say of columns, each with some of its digits, that they may be read in two ways."""
    shown = ", ".join(
        f"{name!r} (such as {next(text for text in digits if set(text) & set(',.'))!r})"
        for name, digits in list(columns.items())[:SHOWN]
    )
    return (
        f"has columns whose numbers may be read in two ways: {shown}; is that mark one of decimals or of thousands? Say "
        "--decimal comma (or point), or --thousands comma (or point); --text COLUMN leaves a column as it is written"
    )


@dataclass(frozen=True)
class Converted:
    """A column whose numbers are as a computer has them."""

    values: pd.Series
    """float64; text where there are words among the numbers, which is for the table to judge"""
    words: list[str]
    """that were taken for missing values"""
    others: np.ndarray
    """which values have digits and are no such numbers, shape (rows,), bool"""


def _converted(column: pd.Series, written: Written, style: Style) -> Converted:
    given = pa.array(column, type=pa.large_string(), from_pandas=True)
    plain, fits = given, _fits(given, _pattern(written, style, with_dashes=False))
    # To look for dashes behind numbers, and to take them away, takes longer than all the rest; mostly there are none.
    may_have_dashes = not compute.all(fits).as_py()
    if may_have_dashes:
        pattern = _pattern(written, style)
        fits = _fits(given, pattern)
        if not compute.all(fits).as_py():
            for odd, usual in ODD.items():
                plain = compute.replace_substring(plain, odd, usual)
            fits = _fits(plain, pattern)
    rest = compute.filter(given, compute.invert(fits))
    has_dashes = may_have_dashes and _is_in("-", plain)
    if has_dashes:
        plain = compute.replace_substring_regex(plain, NO_CENTS, r"\1")
    for text, instead in _removed(written, style):
        if _is_in(text, plain):
            plain = compute.replace_substring(plain, text, instead)
    if has_dashes:
        plain = compute.replace_substring_regex(plain, MINUS_BEHIND, r"-\1")
    words = sorted(compute.unique(rest).to_pylist())
    others = np.zeros(len(column), dtype=bool)
    if all(map(stands_for_none, words)):
        numbers = (
            (compute.if_else(fits, plain, None) if words else plain).cast(pa.float64()).to_numpy(zero_copy_only=False)
        )
        return Converted(pd.Series(numbers, index=column.index, name=column.name), words, others)
    has_digits = compute.match_substring_regex(rest, "[0-9]")
    is_word = compute.is_in(rest, pa.array([text for text in words if stands_for_none(text)], pa.large_string()))
    others[~fits.to_numpy(zero_copy_only=False)] = compute.and_not(has_digits, is_word).to_numpy(zero_copy_only=False)
    texts = compute.if_else(fits, plain, given).to_pandas().to_numpy()
    return Converted(pd.Series(texts, index=column.index, name=column.name, dtype="str"), [], others)


def _is_in(text: str, column: pa.ChunkedArray) -> bool:
    """Tell whether a text is anywhere in a column, in a fraction of the time that replacing it takes."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    buffers = (chunk.buffers()[2] for chunk in chunks)
    return any(buffer is not None and text.encode() in bytes(buffer) for buffer in buffers)


def _fits(column: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """Tell which values match, those that are missing among them."""
    return compute.fill_null(compute.match_substring_regex(column, pattern), True)


def _pattern(written: Written, style: Style, with_dashes: bool = True) -> str:
    """Return what a whole value is, as a regular expression of Arrow's, with dashes behind the number or without."""
    cents, minus = (CENTS, "-?") if with_dashes else ("", "")
    before, after = re.escape(written.before), "|".join(map(re.escape, filter(None, written.endings)))
    optional = "?" if written.is_money else ""
    sign = "[-+]? ?"
    front = rf"(?:{sign}(?:{before} ?){optional}|{before} ?{sign})" if before else sign
    back = rf"(?:[eE][-+]?[0-9]+)?{cents}{minus}"
    if after:  # Arrow's expressions cannot look ahead, so what may stand between a minus and a unit is spelt out
        back = rf"{cents}(?:{minus} (?:{after})|{after}" + (rf"|{minus})" if optional else ")")
    plain = rf"(?:{before} ?){optional}" if before else ""
    return rf"^ *(?:{front}{style.pattern}{back}|{plain}\( ?{plain}{style.pattern}{back} ?\)) *$"


def _removed(written: Written, style: Style) -> Iterator[tuple[str, str]]:
    """Yield what is replaced in a value to make it one that a computer writes."""
    # Mostly no blank is left when the one before the unit has gone with it.
    units = [text for unit in written.endings for text in (f" {unit}", unit)]
    for text in (*units, written.before, style.thousands, " ", "+", ")"):
        if text:
            yield text, ""
    yield "(", "-"
    if style.decimal != ".":
        yield style.decimal, "."
