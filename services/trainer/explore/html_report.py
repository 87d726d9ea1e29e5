"""One self-contained HTML file about a table: no script, nothing loaded from elsewhere, whatever the data says is text."""

import base64
from html import escape
from pathlib import Path

from contract.display import visible

from trainer.data.table import Kind, Table, Task

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fff; margin: 2rem auto; max-width: 62rem;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
td, th { border-bottom: 1px solid #e3e5e8; padding: .3rem .8rem .3rem 0; text-align: left; white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } td.number:last-child { text-align: left; }
img { max-width: 100%; height: auto; } .hint { background: #fff6e0; border-left: 4px solid #e0a100; padding: .4rem .8rem; }
footer { color: #666; font-size: .85rem; margin-top: 3rem; }
"""
TITLES = {
    "target": "The target",
    "missing": "Missing values",
    "distributions": "Distributions",
    "boxplots": "Medians, quartiles and outliers",
    "pairs": "Pairs of features",
    "correlations": "Correlations",
}


# Of a name, a value, and a sentence that may list many names.
MOST_TEXT, MOST_HINT = 200, 2000


def report(table: Table, hints: list[str], pictures: list[Path]) -> str:
    """Return the page; the pictures are put into it."""
    rows, width = table.features.shape
    parts = [
        f"<h1>{_text(table.path.name)}</h1>",
        f"<p>{rows:,} rows, {width} features; the target <b>{_text(table.target.name)}</b> is to be predicted "
        f"({table.task}).</p>",
        _hints(hints),
        "<h2>Columns</h2>",
        _columns(table),
        *(_picture(path) for path in pictures),
        f"<footer>SHA-256 of the file: {table.sha256}</footer>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(table.path.name)}</title>'
    body = "\n".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n'


def _text(value: object, most: int = MOST_TEXT) -> str:
    return escape(visible(str(value), most))


def _hints(hints: list[str]) -> str:
    return "".join(f'<p class="hint">{_text(hint, MOST_HINT)}</p>' for hint in hints)


def _columns(table: Table) -> str:
    heads = ("column", "type", "missing", "distinct", "mean", "std", "min", "median", "max", "most frequent")
    lines = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    kinds = {column.name: str(column.kind) for column in table.columns}
    frame = table.features.assign(**{str(table.target.name): table.target})
    for name, values in frame.items():
        is_number = kinds.get(str(name)) == Kind.NUMBER or (str(name) not in kinds and table.task is Task.REGRESSION)
        cells = [str(values.isna().sum()), str(values.nunique())]
        if is_number:
            figures = (values.mean(), values.std(), values.min(), values.median(), values.max())
            cells += [*(f"{figure:.4g}" for figure in figures), ""]
        else:
            shares = values.value_counts(normalize=True).head(3)
            top = ", ".join(f"{visible(str(value), 60)} {share:.0%}" for value, share in shares.items())
            cells += ["", "", "", "", "", top]
        kind = kinds.get(str(name), "target")
        lines.append(
            f"<tr><td>{_text(name)}</td><td>{kind}</td>"
            + "".join(f'<td class="number">{_text(cell)}</td>' for cell in cells)
            + "</tr>"
        )
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _picture(path: Path) -> str:
    title = TITLES.get(path.stem, path.stem)
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{content}">'
