"""The terminal, and whatever else the two output streams lead to: what is written there is shown, never obeyed.

Names of columns, classes and models, tags, descriptions, words of MLflow's and of libraries: whoever made them may have put
control characters, rich's markup or a megabyte into them. All of it passes contract.display.visible, here and nowhere else:
the console makes it visible before it lays out a table, and the streams do it for whatever is written past the console.
"""

import sys
from typing import Any, TextIO, cast

from contract.display import visible
from rich.console import Console as RichConsole
from rich.text import Text

# What one string may take of the terminal: more than any message of ours has.
MOST = 4000
# A text may have several lines; everything else that moves the cursor is made visible.
KEPT = "\n\t"


class Console(RichConsole):
    """A console whose strings are text: no markup, no emoji codes, no control characters, and none without end."""

    def __init__(self, stderr: bool = False, **options: Any) -> None:
        stream = sys.stderr if stderr else sys.stdout
        # Rich's own colours are written to the stream behind; what is in them has been made visible by then.
        options.setdefault("file", stream.behind if isinstance(stream, Visible) else stream)
        super().__init__(stderr=stderr, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string, of a line or of a table's cell, into what is laid out."""
        return super().render_str(visible(text, MOST, KEPT), **options | {"markup": False, "emoji": False})


class Visible:
    """An output stream that makes visible what a terminal would obey; otherwise it is the stream behind it."""

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind

    def write(self, text: str) -> int:
        """Write a text of any length; its line breaks and tabs stay."""
        # Line by line, because plain lines are told in no time.
        self.behind.write("\n".join(visible(line, None, KEPT) for line in text.split("\n")))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


def protect() -> None:
    """Let all that this process prints pass `Visible`: warnings, tracebacks and log lines of libraries too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Visible):
            setattr(sys, name, cast(TextIO, Visible(stream)))


def one_line(text: str) -> str:
    """Return a message as one line, of whatever it consists of."""
    return visible(" ".join(text.splitlines()), MOST)
