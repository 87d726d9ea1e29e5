"""Rows of a file with an object of JSON in each line, read by Arrow."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

import pyarrow as pa
import pyarrow.json

from trainer import memory
from trainer.data.files import arrow_table
from trainer.data.files.content import Content
from trainer.data.files.form import Form
from trainer.data.files.rows import Rows
from trainer.errors import DataError

# The longest line, in bytes.
BLOCK = 64 * 1024 * 1024
KINDS = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}


def read(content: Content, form: Form) -> Rows:
    """Return a row for each object; a name that an object has not is a missing value. Raises DataError naming the line at fault."""
    memory.check(content.path, content.size, memory.COPIES * arrow_table.COPIES * content.size)
    options = pa.json.ReadOptions(block_size=min(BLOCK, content.size + 1))
    try:
        with content.open() as file:
            table = pa.json.read_json(file, read_options=options)
        rows = arrow_table.of(content.path, table, form)
    except (*arrow_table.BROKEN, UnicodeError) as error:
        raise DataError(f"{content.path} {_fault(content) or arrow_table.first_line(error)}") from error
    return replace(rows, place=partial(_place, content))


def _lines(content: Content) -> Iterator[tuple[int, bytes]]:
    with content.open() as file:
        yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())


def _fault(content: Content) -> str | None:
    """Say which line is no object, or has a value of another type than the lines before it."""
    known: dict[str, str] = {}
    for number, line in _lines(content):
        try:
            found = json.loads(line)
        except UnicodeError as error:
            return f"line {number} is not in UTF-8, in which JSON is: {error}"
        except (ValueError, RecursionError) as error:
            return f"line {number} is no JSON: {error}"
        if not isinstance(found, dict):
            return f'line {number} is no JSON object such as {{"age": 47}}'
        for name, value in found.items():
            kind = KINDS.get(type(value))
            if kind and known.setdefault(name, kind) != kind:
                return f"line {number} has {kind} in {name!r}, which is {known[name]} in the lines before it; expected one type"
    return None if known else "has no rows"


def _place(content: Content, row: int) -> str:
    return f"line {next(islice(_lines(content), row, None))[0]}"
