"""Hypothesis damages files: each is still a table, or is refused in one line; none is a defect of ours."""

import functools
import gzip
import io
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from hypothesis import event, given
from hypothesis import strategies as some
from trainer.data.files.form import Form
from trainer.data.table import Task, read
from trainer.errors import DataError

from tests.fuzzing import fuzz
from tests.unit.workbooks import workbook

ROWS = 12
FRAME = pd.DataFrame(
    {
        "a": [i * 1.5 for i in range(ROWS)],
        "day": [pd.Timestamp("2026-01-01") + pd.Timedelta(days=i) for i in range(ROWS)],
        "price": [f"{i}.000,{i} €" for i in range(1, ROWS + 1)],
        "city": ["Bern", 'O"slo', None] * 4,
        "y": ["yes", "no"] * 6,
    }
)
# Bytes that mean something to one format or another.
TELLING = [
    b"\0",
    b"\xff",
    b'"',
    b"\n",
    b"\r",
    b",",
    b";",
    b"\t",
    b"#",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"PK",
    b"PAR1",
    b"{",
    b"<",
    b"sep=",
    b"1" * 400,
]


def _written(write: Callable[[Any], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _packed(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _parts(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@functools.cache
def files() -> dict[str, bytes]:
    """Return a whole file of each kind."""
    csv = FRAME.to_csv(index=False, sep=";").encode()
    cells = [
        list(FRAME.columns),
        *([a, date(2026, 1, 1), price, city, y] for a, _, price, city, y in FRAME.itertuples(index=False)),
    ]
    return {
        "a.csv": FRAME.to_csv(index=False).encode(),
        "b.csv": csv.decode().encode("cp1252"),
        "c.txt": csv.decode().encode("utf-16"),
        "d.tsv": FRAME.to_csv(index=False, sep="\t").encode(),
        "a.csv.gz": gzip.compress(csv),
        "a.zip": _packed({"a.csv": csv}),
        "b.zip": _packed({"a.csv": b"", "b/a.csv": csv}),
        "a.xlsx": workbook({"A": [[None if value != value else value for value in row] for row in cells]}),
        "a.jsonl": FRAME.to_json(orient="records", lines=True, date_format="iso").encode(),
        "a.parquet": _written(FRAME.to_parquet),
        "b.parquet": _written(FRAME.set_index(["a", "city"]).to_parquet),
        "a.feather": _written(FRAME.to_feather),
    }


@some.composite
def damaged(draw: some.DrawFn) -> tuple[str, bytes]:
    """Draw a file of any kind with some damage, sometimes under the name of another kind."""
    name = draw(some.sampled_from(sorted(files())))
    content = files()[name]
    if name.endswith("xlsx") and draw(some.booleans()):
        part = draw(some.sampled_from(sorted(_parts(content))))
        content = _packed(_parts(content) | {part: draw(damage(_parts(content)[part]))})
    else:
        content = draw(damage(content))
    return draw(some.sampled_from([name, name, name, *sorted(files())])), content


@some.composite
def damage(draw: some.DrawFn, whole: bytes) -> bytes:
    """Draw bytes with some of them changed, cut out, put in, cut off, or there twice."""
    content = bytearray(whole)
    for _ in range(draw(some.integers(1, 4))):
        at = draw(some.integers(0, len(content)))
        match draw(some.sampled_from(["change", "cut", "put", "end", "twice"])):
            case "change":
                content[at : at + 1] = draw(some.binary(min_size=1, max_size=4))
            case "cut":
                del content[at : at + draw(some.integers(1, 40))]
            case "put":
                content[at:at] = draw(some.sampled_from(TELLING))
            case "end":
                del content[max(at, 1) :]
            case "twice":
                content[at:at] = content[at : at + 60]
    return bytes(content)


@some.composite
def forms(draw: some.DrawFn) -> Form:
    """Draw what a person may say of a file, mostly nothing."""
    choices: dict[str, list[Any]] = {
        "separator": [";", ",", " "], "decimal": [",", "."], "encoding": ["utf-8", "cp1250", "cp1252", "utf-16", "utf-7"],
        "comment": ["#", ""], "skip_lines": [1, 3], "sheet": ["A", "B"], "member": ["a.csv", "b/a.csv"], "text": [("a",), ("price",)],
        "skip_unlabelled": [True],
    }  # fmt: skip
    chosen = draw(some.lists(some.sampled_from(sorted(choices)), max_size=2, unique=True))
    return Form(**{name: draw(some.sampled_from(choices[name])) for name in chosen})


def a_table_or_a_refusal(name: str, content: bytes, form: Form) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            table = read(path, "y", Task.CLASSIFICATION, ("day",), (), form)
        except DataError as refused:
            event(f"refused: {Path(name).suffix}")
            said = str(refused)
            assert said.startswith(str(path)) or said.startswith("'y'"), said
            assert "\n" not in said.removeprefix(str(path)) or "\n" in content.decode("latin-1"), said
        else:
            event(f"read: {Path(name).suffix}")
            assert len(table.features) == len(table.target) > 0


@fuzz(150)
@given(file=damaged(), form=forms())
def test_a_damaged_file_is_a_table_or_refused_in_words(file: tuple[str, bytes], form: Form) -> None:
    a_table_or_a_refusal(*file, form)


@fuzz(60)
@given(
    content=some.binary(max_size=200) | some.text(alphabet='a1,;\t|"#\n\r .-€\0', max_size=200).map(str.encode),
    name=some.sampled_from(["a.csv", "a.jsonl", "a.parquet", "a.xlsx", "a.gz", "a.zip", "a.feather"]),
    form=forms(),
)
def test_any_bytes_are_a_table_or_refused_in_words(content: bytes, name: str, form: Form) -> None:
    a_table_or_a_refusal(name, content, form)


def test_each_undamaged_file_is_a_table(tmp_path: Path) -> None:
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
        form = Form(member="b/a.csv" if name == "b.zip" else None)
        table = read(tmp_path / name, "y", drop=("day",), form=form)
        assert table.features["price"].head(2).to_list() == [1000.1, 2000.2], name
