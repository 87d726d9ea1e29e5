"""Write docs/commands.md, every command with its options and exit codes, from the parsers that read them: `make reference`."""

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "commands.md"

INTRODUCTION = """# Commands

This page lists every command of the trainer, of the clean-up and of the accounts, with its options and exit codes. `make reference`
makes it from the code; each command says the same with `--help`.

A command of the trainer's is given in four ways, with the same options:

| where | how |
|---|---|
| with Docker | `scripts/trainer train --dataset wine` |
| the same, with what Docker says of its images | `docker compose run --rm trainer train --dataset wine` |
| without Docker | `make train ARGS="--dataset wine"` |
| on a machine that trains for a server ([more](review.md)) | `mlflow-stack train --dataset wine` |

Others have pages of their own: [API keys](api-keys.md) (`scripts/api-key`), [the doctor](troubleshooting.md#ask-the-doctor)
(`scripts/doctor`), [backups](backup.md) (`docker compose run --rm backup`, `scripts/restore`).
"""
# What an option takes that has no word of its own for it; else it is a number.
NAMED = {"text": "TEXT"}
PLACES = {
    "cleanup": "In the stack `docker compose run --rm cleanup`, without Docker `make cleanup ARGS=…`.",
    "accounts": "`docker compose run --rm accounts`, with [the overlay that asks for a login](login.md).",
}


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join(
        [INTRODUCTION, *(line for name, command in _programs().items() for line in _program(name, command))]
    )


def _programs() -> dict[str, click.Command]:
    sys.path.insert(0, str(ROOT / "services"))
    import accounts.__main__
    import cleanup.__main__
    import trainer.__main__

    return {
        "trainer": trainer.__main__.trainer,
        "cleanup": cleanup.__main__.cleanup,
        "accounts": accounts.__main__.accounts,
    }


def _program(name: str, command: click.Command) -> Iterator[str]:
    yield from _section(2, name, command)
    if name in PLACES:
        yield f"{PLACES[name]}\n"
    if isinstance(command, click.Group):
        for each, own in sorted(command.commands.items()):
            yield from _section(3, f"{name} {each}", own)


def _section(level: int, path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    yield f"{'#' * level} {path}\n"
    yield f"    {' '.join([path, *command.collect_usage_pieces(context)])}\n"
    yield f"{_escaped(cleandoc(command.help or ''))}\n"
    if command.epilog:
        title, _, lines = cleandoc(command.epilog).removeprefix("\b\n").partition("\n")
        yield f"{title}\n"
        yield "\n".join(f"    {line.removeprefix('  ')}" for line in lines.splitlines()) + "\n"
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    if options:
        yield "| option | default | what it does |"
        yield "|---|---|---|"
        yield from (_row(option, context) for option in options)
        yield ""


def _row(option: click.Option, context: click.Context) -> str:
    names = " / ".join([*option.opts, *option.secondary_opts])
    takes, said = "", option.help or ""
    if isinstance(option.type, click.Choice):
        takes, said = " …", f"{said.rstrip('.')}. One of {', '.join(f'`{choice}`' for choice in option.type.choices)}."
    elif not option.is_flag:
        takes = f" {(option.metavar or NAMED.get(option.type.name, 'N')).replace('|', ' or ')}"
    default = option.get_default(context) if option.show_default else None
    cell = "-" if default is None else f"`{default}`"
    return f"| `{names}{takes}` | {cell} | {_escaped(' '.join(said.split())).lstrip('. ')} |"


def _escaped(text: str) -> str:
    """Return text in which Markdown and HTML find nothing of their own."""
    return text.replace("<", "&lt;").replace("*", r"\*").replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page())
