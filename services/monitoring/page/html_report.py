"""One self-contained HTML file about a look; what it looks like is in report.html.j2."""

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from contract.display import visible
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from monitoring.looking.bars import Bar
from monitoring.looking.look import Look, Seen, Window
from monitoring.sources.reference import NUMBER
from monitoring.statistics.drift import LEAST_PSI
from monitoring.statistics.quality import Figure

# Of columns that are drawn one by one, those that differ most first; and of those in the overview.
MOST_PICTURES, MOST_ROWS = 40, 100
# The overview's right end, where no PSI is larger; beyond the last, bars are cut.
LEAST_END, MOST_END = 0.3, 2.0
# Of a picture of a column, in units of its own.
WIDTH, HEIGHT = 360, 120


@cache
def _pages() -> Environment:
    """Return what compiles the page: once, where a service makes one after each look."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {
        "shown": _shown,
        "share": share,
        "moment": moment,
        "figure": figure,
        "number": number,
        "hundredths": hundredths,
    }
    return pages


def report(look: Look) -> str:
    """Return the page."""
    ruled = [seen for seen in look.columns if seen.older is not None]
    return (
        _pages()
        .get_template("report.html.j2")
        .render(
            look=look,
            overview=list(_overview(ruled[:MOST_ROWS])),
            more=max(0, len(ruled) - MOST_ROWS),
            pictures=[
                (seen, list(_drawn(seen.bars)), _remark(seen)) for seen in look.columns[:MOST_PICTURES] if seen.bars
            ],
            width=WIDTH,
            height=HEIGHT,
        )
    )


def _overview(columns: list[Seen]) -> Iterator[dict[str, Any]]:
    """Yield each column's bars in per cent of the overview's width."""
    largest = max((window.distance.psi for seen in columns for window in windows_of(seen)), default=0.0)
    end = min(max(largest * 1.05, LEAST_END), MOST_END)
    for seen in columns:
        psis = [window.distance.psi for window in windows_of(seen)]
        limit = max(LEAST_PSI, *(window.distance.chance for window in windows_of(seen)))
        yield {
            "seen": seen,
            "psis": psis,
            "widths": [min(100.0, max(0.0, 100 * psi / end)) for psi in psis],
            "limit": limit,
            "at": min(100.0, 100 * limit / end),
        }


def windows_of(seen: Seen) -> list[Window]:
    """Return both windows of a column, none for a date."""
    return [window for window in (seen.older, seen.newer) if window is not None]


def _drawn(bars: tuple[Bar, ...]) -> Iterator[dict[str, Any]]:
    """Yield where each bar stands: the reference's and, over it, the window's."""
    top = max((max(bar.reference, bar.window) for bar in bars), default=1.0) or 1.0
    step = WIDTH / len(bars)
    for j, bar in enumerate(bars):
        then, now = (HEIGHT * share / top for share in (bar.reference, bar.window))
        yield {"bar": bar, "x": j * step, "step": step, "then": then, "now": now}


def _remark(seen: Seen) -> str:
    said = [f"{share(seen.missing)} missing"] if seen.missing or seen.column.missing else []
    said += [f"{share(seen.out_of_range)} out of range"] if seen.out_of_range is not None else []
    said += [f"{share(seen.unknown)} unknown"] if seen.unknown is not None else []
    moved = [window.wasserstein for window in windows_of(seen) if window.wasserstein is not None]
    if seen.column.kind == NUMBER and moved:
        said.append(f"values moved by {max(moved):.2f} standard deviations")
    return ", ".join(said)


def share(value: float | None) -> str:
    """Return a share as people read it; a dash for none."""
    return "–" if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    """Return a number of three digits; a dash for none."""
    return "–" if value is None else f"{value:.3g}"


def hundredths(value: float) -> str:
    """Return a PSI, of which more digits tell nothing."""
    return f"{value:.2f}"


def figure(found: Figure | None) -> str:
    """Return a figure with its interval; a dash for none."""
    return "–" if found is None else f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def moment(time: datetime) -> str:
    """Return a moment to the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _shown(value: object, most: int = 60) -> str:
    return visible(str(value), most)
