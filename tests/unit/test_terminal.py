"""What is written to the terminal is shown, never obeyed: whoever named a column, a model or a tag."""

import ast
import logging
import re
import sys
import traceback
from io import StringIO
from pathlib import Path

import pytest
from contract.tracking.alias_history import Move
from rich.table import Table as Grid
from trainer.commands.production import grid_of
from trainer.console import output, terminal
from trainer.console.terminal import Console, Visible, one_line, protect

TRAINER = Path(__file__).parents[2] / "services" / "trainer"
PAST_IT = re.compile(r"print|from_markup|__std(out|err)__|rich")
HOSTILE = {
    "\x1b[2J\x1b[1;32mVersion 14 is checked and signed": r"\x1b[2J\x1b[1;32mVersion 14 is checked and signed",
    "\x1b]0;owned\x07": r"\x1b]0;owned\x07",
    "\x9b2J": r"\x9b2J",
    "over\rwritten": r"over\rwritten",
    "\u202egnp.exe": r"\u202egnp.exe",
    "zero\u200bwidth": r"zero\u200bwidth",
    "half\ud800": r"half\ud800",
    "x [/nope]": "x [/nope]",
    "[link=http://evil.example]click[/link]": "[link=http://evil.example]click[/link]",
    "[red]": "[red]",
    ":pile_of_poo:": ":pile_of_poo:",
}
hostile = pytest.mark.parametrize(("text", "seen"), HOSTILE.items(), ids=HOSTILE.values())


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=200)


def printed(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


@hostile
def test_a_line_shows_what_it_is_given(console: Console, text: str, seen: str) -> None:
    console.print(f"before {text} after")
    assert printed(console) == f"before {seen} after\n"


@hostile
def test_a_table_shows_what_its_cells_heads_and_title_are_given(console: Console, text: str, seen: str) -> None:
    grid = Grid(text, title=text)
    grid.add_row(text)
    console.print(grid)
    shown = printed(console)
    assert shown.count(seen) == 3
    assert shown.replace("\n", "").isprintable()


@hostile
def test_the_history_shows_a_reason_and_a_name_of_others(console: Console, text: str, seen: str) -> None:
    console.print(grid_of(text, [Move(None, "train", None, "1", text)]))
    assert printed(console).count(seen) == 2


@hostile
def test_remarks_and_steps_show_what_they_are_given(console: Console, text: str, seen: str) -> None:
    output.notes(console, [text])
    output.steps(console, 1)(text)
    assert printed(console) == f"      {seen}\n[1/1] {seen}\n"


@hostile
def test_a_bar_shows_the_name_that_it_is_given(text: str, seen: str) -> None:
    console = Console(file=StringIO(), width=200, force_terminal=True, color_system=None)
    with output.Progress(console, text, 1) as progress:
        progress.step()
    assert seen in printed(console)
    assert text == seen or text not in printed(console)


def test_no_text_takes_the_terminal_for_itself(console: Console) -> None:
    console.print("x" * 10**6, soft_wrap=True)
    assert len(printed(console)) == terminal.MOST + 2  # an ellipsis and the line's end


def test_colours_of_our_own_are_the_terminals_still() -> None:
    console = Console(file=StringIO(), force_terminal=True, color_system="standard")
    console.print("Hints", style="bold")
    assert printed(console) == "\x1b[1mHints\x1b[0m\n"


@hostile
def test_an_error_is_one_line_that_shows_what_it_quotes(text: str, seen: str) -> None:
    assert one_line(f"trainer: {text}\nfake line") in (
        f"trainer: {seen} fake line",
        # A carriage return ends a line as well.
        f"trainer: {seen} fake line".replace(r"\r", " "),
    )


def protected(monkeypatch: pytest.MonkeyPatch) -> tuple[StringIO, StringIO]:
    """Protect both streams as the command line does, and return what is behind them."""
    behind = StringIO(), StringIO()
    for name, stream in zip(("stdout", "stderr"), behind, strict=True):
        monkeypatch.setattr(sys, name, stream)
    protect()
    return behind


@hostile
def test_what_libraries_print_and_log_is_shown_too(monkeypatch: pytest.MonkeyPatch, text: str, seen: str) -> None:
    stdout, stderr = protected(monkeypatch)
    print(text)
    logging.StreamHandler().emit(logging.makeLogRecord({"msg": text}))
    traceback.print_exception(ValueError(text))
    assert stdout.getvalue() == f"{seen}\n"
    assert stderr.getvalue() == f"{seen}\nValueError: {seen}\n"


def test_a_protected_stream_is_protected_once_and_lets_the_consoles_colours_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, stderr = protected(monkeypatch)
    protect()
    assert isinstance(sys.stderr, Visible)
    assert sys.stderr.behind is stderr
    Console(stderr=True, force_terminal=True, color_system="standard").print("\x1b[2J", style="bold", highlight=False)
    assert stderr.getvalue() == "\x1b[1m\\x1b[2J\x1b[0m\n"


@pytest.mark.parametrize("path", sorted(TRAINER.rglob("*.py")), ids=lambda path: str(path.relative_to(TRAINER)))
def test_nothing_of_the_trainer_writes_past_it(path: Path) -> None:
    """No `print`, no stream written to, and no console or markup of rich's own."""
    text = path.read_text()
    if path.name == "terminal.py" or not PAST_IT.search(text):  # most have none of these words, which is seen sooner
        return
    for node in ast.walk(ast.parse(text)):
        assert not (isinstance(node, ast.Name) and node.id == "print"), f"line {node.lineno}"
        assert not (isinstance(node, ast.Attribute) and node.attr in ("from_markup", "__stdout__", "__stderr__"))
        assert not (
            isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.console", "rich.markup", "rich.text")
        )
