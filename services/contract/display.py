"""Text of others, before it is written to a terminal, a log or a page.

Whoever reaches MLflow's port writes names, tags, descriptions and files. What they contain is shown, never obeyed.
"""

import unicodedata
from collections.abc import Sequence
from reprlib import Repr
from typing import Any

# Control characters (C0, C1), and what changes direction, is invisible, or is half a character: Unicode's Cc, Cf, Cs,
# Zl, Zp. A line break and a tab are left where text may have several lines.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
MOST = 500


def visible(text: str, most: int | None = MOST, keep: str = "") -> str:
    r"""Return a text with all that a terminal would obey made visible (``\x1b``, ``\u202e``), cut to `most` characters.

    Characters in `keep`, such as a line break, stay as they are.
    """
    cut = text if most is None or len(text) <= most else text[:most] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(
        char
        if char in keep or unicodedata.category(char) not in _HIDDEN
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in cut
    )


def first_line(message: Any, most: int = MOST) -> str:
    """Return what another program said in several lines as the first of them that says something, made visible."""
    lines = (line.strip() for line in str(message).splitlines())
    return visible(next(filter(None, lines), ""), most)


class _Short(Repr):
    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # Python writes no more than 4300 digits
            return f"<a whole number of {x.bit_length()} bits>"


_SHORT = _Short()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxdict, _SHORT.maxset = 3, 8, 8, 8, 8


def listed(names: Sequence[str]) -> str:
    """Return names as an error may list them: the first few, and how many there are where these are not all."""
    shown = ", ".join(visible(name, 100) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} … ({len(names)})"


def differing(found: Sequence[str], expected: Sequence[str], what: tuple[str, str]) -> str:
    """Say how names differ from those that were expected, as a sentence goes on after "it"; `what` they name, one and several."""

    def shown(names: Sequence[str]) -> str:
        return f"the {what[len(names) > 1]} {listed(list(map(quoted, names)))}"

    known, there = set(expected), set(found)
    besides, lacking = [name for name in found if name not in known], [name for name in expected if name not in there]
    if besides or lacking:
        said = [f"has {shown(besides)} besides"] if besides else []
        return " and ".join(said + ([f"lacks {shown(lacking)}"] if lacking else []))
    for name, other in zip(found, expected, strict=False):
        if name != other:
            return f"has its {what[1]} in another order: {quoted(name)} stands where {quoted(other)} stood"
    return f"has {len(found)} {what[1]}, and not {len(expected)}"


def quoted(value: Any) -> str:
    """Return a value as an error may quote it: like repr, of bounded length whatever it is."""
    return visible(_SHORT.repr(value), 300)


def without_login(url: str) -> str:
    """Return an address without the name and password in it, which no log and no answer may show.

    What follows the last @ is shown, so that a password that holds a slash is left out too. A file's path, as in
    sqlite:///PATH, is left as it is.
    """
    scheme, mark, rest = url.partition("://")
    return url if not mark or rest.startswith("/") else f"{scheme}{mark}{rest.rpartition('@')[2]}"
