"""What a request may ask for, counted before anything of it is built.

A few bytes can stand for much: a row of CSV is a comma, a record `{}` is a hundred missing values, and each row is
answered with all names of a model's classes. So neither the size of a body nor the number of its rows says what it costs.
Small bodies are answered in the loop that everybody waits for, as long as they ask for what takes some milliseconds; the
others, one at a time, aside, for what fits into the memory that docs/serving.md states.
"""

import re
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import orjson
from contract.schema import Column, Kind

from inference.errors import RequestEntityTooLarge
from inference.model.pacing import TakesLong

# Bodies up to this size are answered in the loop (admission.LARGE_BYTES).
SMALL_BYTES = 256 * 1024
# What is read while others wait, some milliseconds' worth: bytes of text that become Python's values one by one, of CSV, where
# to find which of its fields is wrong takes as long as to read it twice more, and values of rows. An answer has so many bytes
# at most. Numbers alone are read from JSON in one step: a body of them may be as large as a small one is.
QUICK_BYTES, QUICK_CSV, QUICK_CELLS, QUICK_ANSWER = 16 * 1024, 8 * 1024, 8 * 1024, 1024 * 1024

# Values, rows × columns. What is written out in a small body is never more than this, with a byte for each; a large one
# takes two bytes for a number, but in binary, and has at least those of 4 MB. Each value is 8 bytes in the matrix, and again
# in each copy that an engine makes: imputed, scaled, in 32 bits.
SMALL_CELLS = 256 * 1024
LARGE_CELLS = 4 * 1024 * 1024
BYTES_PER_CELL = 2
# Of these, texts in a large body: each is a Python object, and again one in what an estimator makes of it.
LARGE_TEXTS = 1024 * 1024
BYTES_PER_TEXT = 6
# Scores, rows × classes, which an engine computes whatever is asked for. They are numbers alone, and quicker.
SMALL_SCORES = 8 * SMALL_CELLS
# Bytes of an answer: orjson writes 4 MB in 20 ms. Up to five of the others may be there at once, read by slow clients.
SMALL_ANSWER = 4 * 1024 * 1024
LARGE_ANSWER = 64 * 1024 * 1024
# What a number takes in JSON at most, with its comma.
NUMBER_BYTES = 25
# Lists and records of JSON that become Python's, each of which takes up to 250 bytes; a body of numbers alone does not.
MOST_PARTS = 1_000_000
# Records count three times, and texts beside them once, as they take up to 84 bytes; names are made once, however often they come.
MOST_OBJECTS, RECORD_OBJECTS = 3_000_000, 3
# Names of one record of JSON, more than those of the widest table: each takes a microsecond, in which nobody else has a turn.
MOST_RECORD_NAMES = 250_000
# Characters of JSON that are looked at at a time for where its texts and its records end.
LOOK = 256 * 1024
_TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WHOLE_TEXTS = re.compile(rf'(?:[^"}}]++|{_TEXT.pattern}|(}}))*+', re.DOTALL)
# Characters of one record of CSV. Where all of its fields have two, each takes thirty times as much.
MOST_RECORD = 4 * 1024 * 1024
# Fields of CSV that are there at a time, but for those of one record.
BLOCK_FIELDS = 1024 * 1024


class Budget(NamedTuple):
    """What a request may ask for follows from this."""

    size: int
    """bytes of its body"""
    is_waited_for: bool = False
    """whether others wait while it is answered: TakesLong is raised where they would wait long"""

    @property
    def is_small(self) -> bool:
        return self.size <= SMALL_BYTES


# What comes with the model, such as its golden samples, is signed for, and not counted.
OUR_OWN = Budget(2**40)


def check_text(size: int, budget: Budget, most: int = QUICK_BYTES) -> None:
    """Raise TakesLong where others would wait while so many bytes of text become Python's values."""
    if budget.is_waited_for and size > most:
        raise TakesLong


def most_names(width: int) -> int:
    """Return how many columns a request may name, for a model that has `width`: those that it does not have cost little."""
    return 10_000 + 10 * width


def check_names(count: int, width: int, where: str) -> None:
    """Raise RequestEntityTooLarge where a request names too many columns."""
    if count > (most := most_names(width)):
        raise RequestEntityTooLarge(
            f"{where} has {count} names; expected at most {most}: leave out those that are not the model's"
        )


def most_cells(size: int) -> int:
    """Return how many values a body of `size` bytes may ask for."""
    return SMALL_CELLS if size <= SMALL_BYTES else max(LARGE_CELLS, size // BYTES_PER_CELL)


def check_cells(rows: int, columns: Sequence[Column], budget: Budget) -> None:
    """Raise RequestEntityTooLarge where a request has more values, rows by columns, than it may have."""
    cells, size = rows * len(columns), budget.size
    if cells > (most := most_cells(size)):
        raise RequestEntityTooLarge(
            f"{rows} rows of {len(columns)} columns are {cells} values; expected at most {most} in a body of {size} bytes: "
            "send fewer rows at a time"
        )
    if cells > LARGE_TEXTS and not budget.is_small:
        texts = rows * sum(column.kind is Kind.TEXT for column in columns)
        if texts > (most := max(LARGE_TEXTS, size // BYTES_PER_TEXT)):
            raise RequestEntityTooLarge(
                f"{rows} rows have {texts} values in columns of text; expected at most {most} in a body of {size} bytes: "
                "send fewer rows at a time"
            )
    if budget.is_waited_for and cells > QUICK_CELLS and rows > 1:
        raise TakesLong


def check_parts(body: bytes) -> None:
    """Raise RequestEntityTooLarge where JSON has too many lists, records and texts to make Python's of them."""
    if len(body) <= MOST_PARTS:
        return
    records = body.count(b"{")
    if (count := body.count(b"[") + records) > MOST_PARTS:
        raise RequestEntityTooLarge(
            f"the body has {count} lists and records; expected at most {MOST_PARTS}: send fewer rows at a time"
        )
    texts = max(0, body.count(b'"') // 2 - body.count(b'":'))
    if RECORD_OBJECTS * records + texts > MOST_OBJECTS:
        raise RequestEntityTooLarge(
            f"the body has {records} records and {texts} texts; expected at most {MOST_OBJECTS}, of which a record counts as "
            f"{RECORD_OBJECTS}: send fewer rows at a time"
        )


def check_records(text: str) -> None:
    """Raise RequestEntityTooLarge where JSON has a record of too many names, of which no other record ends in between."""
    if text.count(":") <= MOST_RECORD_NAMES:
        return
    start = names = 0
    while start < len(text):
        found = _WHOLE_TEXTS.match(text, start, start + LOOK)
        if found is None or found.end() == start:  # a text that is longer, or has no end, which the parser says
            found = _TEXT.match(text, start)
            if found is None:
                return
        elif (end := found.start(1)) >= 0:  # of a record, the last one here
            start, names = end, 0
        names += _TEXT.sub("", text[start : found.end()]).count(":")
        if names > MOST_RECORD_NAMES:
            raise RequestEntityTooLarge(
                f"a record of the body has more than {MOST_RECORD_NAMES} names; leave out those that are not the model's"
            )
        start = found.end()


def check_answer(rows: int, classes: int, row_bytes: int, budget: Budget) -> None:
    """Raise RequestEntityTooLarge where a model has too many scores to compute, or the answer, of so many bytes a row, is too large."""
    if rows == 1:  # there is no smaller request
        return
    size, is_small = budget.size, budget.is_small
    if rows * classes > (most := SMALL_SCORES if is_small else most_cells(size)):
        raise RequestEntityTooLarge(
            f"{rows} rows with {classes} classes each are {rows * classes} scores; expected at most {most} for a body of "
            f"{size} bytes: send fewer rows at a time"
        )
    if rows * row_bytes > (most := SMALL_ANSWER if is_small else LARGE_ANSWER):
        raise RequestEntityTooLarge(
            f"the answer to {rows} rows takes up to {rows * row_bytes} bytes; expected at most {most} for a body of {size} "
            "bytes: send fewer rows at a time"
        )
    if budget.is_waited_for and rows * row_bytes > QUICK_ANSWER:
        raise TakesLong


def label_bytes(labels: Sequence[Any] | None) -> int:
    """Return what a prediction takes in JSON at most: the longest label of a model, or a number where it has none."""
    if not labels or isinstance(labels[0], Real):
        return NUMBER_BYTES
    return 1 + max(len(orjson.dumps(str(label))) for label in labels)


def named_bytes(names: Sequence[str]) -> int:
    """Return what a row's name and probabilities by name take in JSON at most."""
    return label_bytes(names) + len(orjson.dumps(names)) + NUMBER_BYTES * len(names)
