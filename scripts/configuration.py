"""Write docs/configuration.md, the list of all settings, from where they are declared: `make configuration`.

What a person may set in `.env`, with the reasons, is in .env.example. What a process reads from its environment is in its
settings.py: a field's docstring begins with the name of the variable.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
COMPOSES_OWN = ("COMPOSE_FILE", "COMPOSE_PROFILES")
SERVICES = {"trainer": "The trainer", "inference": "The prediction service"}

INTRODUCTION = """# Configuration

This page lists every setting with its default. `make configuration` makes it from [.env.example](../.env.example) and the
services' `settings.py`; edit those. How to change a setting, and what to think of: [operations.md](operations.md).

## The stack: `.env`

Copy `.env.example` to `.env`, take the `# ` off a line and change its value; `docker compose up -d --wait` applies it. A name that
ends in `_FILE` takes the path of a file, written before the start. Nothing here has to be set. Two names are
Compose's own: `COMPOSE_FILE` names the compose files that count, in one line, all overlays with colons between
([operations.md](operations.md#overlays-and-profiles)), and `COMPOSE_PROFILES` the services that `up` starts beside the others.
"""

PROCESSES = """## The processes

What each process reads from its environment, for the way without Docker (`INFERENCE_LISTEN_PORT=1236 make serve`). In the stack,
`compose.yaml` sets all of it; what is not in the tables above has one value there. A value that cannot be used ends the process with
one line that names the variable, the value and what is expected.
"""


def page() -> str:
    """Return the page as Markdown."""
    sections = list(_stack())
    defaults = {name: value for _, rows in sections for name, value, _ in rows}
    parts = [INTRODUCTION, *(_section(title, rows) for title, rows in sections), PROCESSES]
    parts += [_section(title, list(_process(service, defaults))) for service, title in SERVICES.items()]
    return "\n".join(parts)


def _section(title: str, rows: list[tuple[str, str, str]]) -> str:
    lines = [f"### {title}", "", "| setting | default | what it is |", "|---|---|---|"]
    for name, default, meaning in rows:
        lines.append(f"| `{name}` | {f'`{default}`' if default else '-'} | {meaning} |")
    return "\n".join([*lines, ""])


def _stack() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield title and settings (name, default, meaning) of each section of .env.example."""
    text = (ROOT / ".env.example").read_text()
    _, *parts = re.split(r"^# --- (.+) ---$", text, flags=re.M)
    for title, part in zip(parts[::2], parts[1::2], strict=True):
        found = re.findall(r"((?:^# (?![A-Z][A-Z0-9_]*=).*\n)+)# ([A-Z][A-Z0-9_]*)=(.*)$", part, re.M)
        rows = [
            (name, value, _cell(reason.replace("# ", ""))) for reason, name, value in found if name not in COMPOSES_OWN
        ]
        yield title[0].upper() + title[1:], rows


def _process(service: str, defaults: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield variable, default and meaning of each field of a service's settings; the default is the stack's, or else its own."""
    tree = ast.parse((ROOT / "services" / service / "settings.py").read_text())
    (fields,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    for field, told in pairwise(fields):
        if isinstance(field, ast.AnnAssign) and isinstance(told, ast.Expr) and isinstance(told.value, ast.Constant):
            name, is_read, meaning = str(told.value.value).partition(": ")
            if not is_read:
                continue  # the service finds it out itself
            yield name, defaults.get(name) or _value(field.value), _cell(meaning.removesuffix("."))


def _value(node: ast.expr | None) -> str:
    """Return a default as one writes it in the environment; empty where it has no fixed value."""
    if isinstance(node, ast.Call) and len(node.args) == 1:  # Path("…")
        return _value(node.args[0])
    return str(node.value) if isinstance(node, ast.Constant) and node.value is not None else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
