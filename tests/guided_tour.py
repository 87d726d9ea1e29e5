"""The guided tour, docs/workshop/: its commands, and what it says that one sees. Imports nothing of ours.

A block of `console` has commands, each after a `$`, and what they print below. Of two commands the first is for Docker and the
second does the same without; one that begins with `make` is for the way without Docker alone; any other one is for both. A line `…`
stands for lines that are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs" / "workshop"
LANGUAGES = ("en", "es")
PAGES = (
    *("README.md", "1-explore.md", "2-environment.md", "3-train-and-track.md", "4-registry.md", "5-serving.md"),
    "6-production.md",
)
LEFT_OUT = "…"
# What differs from run to run, from machine to machine, and between the two ways; what is left of it says that it was there.
MASKS = [
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", "TIME"),
    (r"\b[0-9a-f]{12,64}\b", "DIGEST"),
    (r"http://mlflow:5000|sqlite:///\S+", "TRACKING"),
    (r"(localhost|127\.0\.0\.1):\d+", "ADDRESS"),
    (r"/experiments/\d+", "/experiments/N"),
    ("RESOURCE_DOES_NOT_EXIST: ", ""),  # as a server has it
    (r"\S*/data/(?=\w+)", "data/"),
    (r"==\d[\d.]*", "==N"),
    (r"(rows predicted:|filas predichas:|^inference_rows_total.*\}) \d+(\.0)?", r"\1 N"),  # others ask as well
    (r"^    (docker compose run|make) .*", "COMMAND"),  # the companion's advice, of the one way or of the other
    (r"(0\.\d{4})\d{4,}|\d\.\d{6,}e-\d+", r"\1"),
    (r"[─━]+", "─"),
    (r"[ \t]+", " "),
]
LINK = re.compile(r"(Run|Version): +http")


@dataclass(frozen=True)
class Step:
    """A block: the command of each way, None where it has none, and what is printed, empty where the page does not show it."""

    docker: str | None
    make: str | None
    shown: str

    @property
    def is_companion(self) -> bool:
        return " workshop" in (self.make or "")


def steps(language: str, page: str | None = None) -> Iterator[Step]:
    """Yield the blocks of one page, or of all, in order."""
    for name in [page] if page else PAGES:
        yield from steps_of((FOLDER / language / name).read_text())


def steps_of(text: str) -> Iterator[Step]:
    """Yield the blocks of a page's text, in order."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S):
        lines = block.splitlines()
        commands = [line.removeprefix("$ ") for line in takewhile(lambda line: line.startswith("$ "), lines)]
        docker = None if commands[0].startswith("make ") else commands[0]
        make = None if commands[-1].startswith("docker ") else commands[-1]
        yield Step(docker, make, "\n".join(lines[len(commands) :]))


def masked(text: str) -> list[str]:
    """Return a text's lines without what differs, and without those that have nothing else."""
    for pattern, name in MASKS:
        text = re.sub(pattern, name, text, flags=re.M)
    return [line.strip() for line in text.splitlines() if line.strip()]


def without_links(text: str) -> str:
    """Return a text without the lines with which the stack says where a run is: without Docker there are none."""
    return "\n".join(line for line in text.splitlines() if not LINK.match(line))


def without_figures(text: str) -> str:
    """Return a text in which each figure is N."""
    return re.sub(r"\d[\d.,]*(e-\d+)?", "N", text)


def differs(shown: str, printed: str) -> str | None:
    """Return what is wrong with what a page shows, None where it is what was printed."""
    wanted = [r".*" if line == LEFT_OUT else re.escape(line + "\n") for line in masked(shown)]
    lines = "".join(f"{line}\n" for line in masked(printed))
    if re.fullmatch("".join(wanted), lines, re.S):
        return None
    return f"the page shows\n{shown}\n\nand this is printed:\n{printed}"
