"""One self-contained HTML file about a table; what it looks like is in report.html.j2."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from contract.display import visible
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trainer.console.figures import grouped
from trainer.data.table import Kind, Table, Task
from trainer.explore.console_report import taken_for

HEADS = ("column", "taken for", "missing", "distinct", "mean", "std", "min", "median", "max", "most frequent")
# Of each picture, what it is called and what is to be seen in it.
TITLES = {
    "target": (
        "The target",
        "How often each class is there, or each range of a quantity: what is rare is hard to learn.",
    ),
    "missing": (
        "Missing values",
        "Which columns have gaps, and how many: the longer a bar, the less its column can tell.",
    ),
    "distributions": (
        "Distributions",
        "How each feature is spread: where its colours lie apart, it tells the classes apart.",
    ),
    "boxplots": (
        "Medians, quartiles and outliers",
        "The middle half of the rows is in the box, the line is the median, and dots are far from the others.",
    ),
    "pairs": (
        "Pairs of features",
        "Two features at a time: a line or a curve is what they have in common, colours that lie apart the two tell apart.",
    ),
    "correlations": (
        "Correlations",
        "Which numbers rise (red) or fall (blue) together: of two near 1 or -1, one tells little that the other does not.",
    ),
}


def report(table: Table, hints: list[str], pictures: list[Path], left_out: pd.DataFrame) -> str:
    """Return the page; the pictures are put into it. `left_out` are the columns that are no features."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters["shown"] = _shown
    rows, width = table.features.shape
    return pages.get_template("report.html.j2").render(
        table=table,
        rows=rows,
        width=width,
        hints=hints,
        heads=HEADS,
        columns=_columns(table, left_out),
        pictures=[(*TITLES[path.stem], _base64(path)) for path in pictures],
    )


def _shown(value: object, most: int = 200) -> str:
    """Return a name or a value as text that can be looked at, of so many characters at most."""
    return visible(str(value), most)


def _columns(table: Table, left_out: pd.DataFrame) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the name, what it is taken for and the other cells of each column, the target and what is left out last."""
    for column in table.columns:
        yield column.name, taken_for(table, column), _cells(table.features[column.name], column.kind is Kind.NUMBER)
    yield str(table.target.name), "target", _cells(table.target, table.task is Task.REGRESSION)
    for name, values in left_out.items():
        yield str(name), "left out", _cells(values.astype("str"), False)


def _cells(values: pd.Series, is_number: bool) -> list[str]:
    counts = [str(values.isna().sum()), str(values.nunique())]
    if is_number:
        figures = (values.mean(), values.std(), values.min(), values.median(), values.max())
        return [*counts, *(_figure(figure) for figure in figures), ""]
    shares = values.value_counts(normalize=True).head(3)
    top = ", ".join(f"{_shown(value, 60)} {share:.0%}" for value, share in shares.items())
    return [*counts, "", "", "", "", "", top]


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _figure(value: float) -> str:
    return grouped(value) if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"
