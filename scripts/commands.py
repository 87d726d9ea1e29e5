"""Write docs/commands.md, every command with its options and exit codes, from the parsers that read them: `make reference`.

Of what has no parser, a shell script and the audit log, it is the usage that stands at the file's head.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "commands.md"

INTRODUCTION = """# Commands

This page lists every command with its options, and the trainer's exit codes. `make reference` makes it from the code; each command says
the same with `--help`, but for `backup`, `restore` and `audit`.

A command of the trainer's is given in four ways, with the same options:

| where | how |
|---|---|
| with Docker | `scripts/trainer train --dataset wine` |
| the same, with what Docker says of its images | `docker compose run --rm trainer train --dataset wine` |
| without Docker | `make train ARGS="--dataset wine"` |
| on a machine that trains for a server ([more](review.md)) | `mlflow-stack train --dataset wine` |

The others: [clean-up](#cleanup), [accounts](#accounts), [the monitor and the prediction log](#monitor), [the doctor](#doctor),
[API keys](#api-key), [backup](#backup), [restore](#restore), [the audit log](#audit).
"""
# What an option takes that has no word of its own for it; else it is a number.
NAMED = {"text": "TEXT"}
PLACES = {
    "cleanup": "In the stack `docker compose run --rm cleanup`, without Docker `make cleanup ARGS=…`.",
    "accounts": "`docker compose run --rm accounts`, with [the overlay that asks for a login](login.md).",
    "monitor": "`docker compose run --rm monitor`, with the overlay of the [prediction log](prediction-log.md), whose commands "
    "`query` and `labels` are; `report` and `watch` are of [monitoring](monitoring.md).",
    "doctor": "`scripts/doctor`, without Docker `make doctor` ([more](troubleshooting.md#ask-the-doctor)).",
    "api-key": "`scripts/api-key`, without Docker `make apikey ARGS=…` ([more](api-keys.md)).",
    "backup": "`docker compose run --rm backup`, without Docker `make backup` ([more](backup.md)).",
    "restore": "`scripts/restore`, without Docker `make restore` ([more](backup.md)).",
    "audit": "`docker compose run --rm audit` ([more](review.md)).",
}
# What has no parser: the file that has the usage at its head.
HEADS = {"backup": "services/backup/backup", "restore": "scripts/restore", "audit": "services/audit/__main__.py"}


def page() -> str:
    """Return the page as Markdown."""
    sys.path.insert(0, str(ROOT / "services"))
    lines = [INTRODUCTION]
    for name, command in _programs().items():
        lines += _program(name, command)
    for name, parsers in _parsers().items():
        lines += [f"## {name}\n", f"{PLACES[name]}\n"]
        for parser in parsers:
            lines += _parser(parser)
    for name, file in HEADS.items():
        lines += [f"## {name}\n", f"{PLACES[name]}\n", *_head((ROOT / file).read_text())]
    return "\n".join(lines)


def _parsers() -> dict[str, list[argparse.ArgumentParser]]:
    """Return the parsers of argparse's; what has several commands is those, each by itself."""
    import doctor.host.command
    import inference.api_keys.command
    import inference.prediction_log.command
    import monitoring.command
    import monitoring.watch

    of_log = _subparsers(inference.prediction_log.command.parser())
    return {
        "monitor": [monitoring.command.parser(), monitoring.watch.parser(), *of_log],
        "doctor": [doctor.host.command.parser("doctor")],
        "api-key": _subparsers(inference.api_keys.command.parser()),
    }


def _subparsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parser of each command, whose description is what the list of commands says of it."""
    (commands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for told in commands._choices_actions:
        commands.choices[told.dest].description = told.help
    return list(commands.choices.values())


def _parser(parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    takes = [action.metavar or action.dest.upper() for action in actions if not action.option_strings]
    options = ["[OPTIONS]"] if any(action.option_strings for action in actions) else []
    if " " in parser.prog:
        yield f"### {parser.prog}\n"
    yield f"    {' '.join([parser.prog, *options, *map(str, takes)])}\n"
    yield f"{_sentence(parser.description or '')}\n"
    if actions:
        yield "| option | default | what it does |"
        yield "|---|---|---|"
        yield from map(_action, actions)
        yield ""


def _action(action: argparse.Action) -> str:
    value = str(action.metavar or action.dest.upper())
    takes = "" if action.nargs == 0 else f" {value}"
    name = f"`{' / '.join(action.option_strings)}{takes}`" if action.option_strings else f"*{value}*"
    cell = "-" if action.default in (None, False, "", "-") else f"`{action.default}`"
    return f"| {name} | {cell} | {_escaped(_sentence((action.help or '') % {'default': action.default}))} |"


def _sentence(text: str) -> str:
    """Return what argparse's help says in lower case as a sentence, without the page that it names."""
    text = re.sub(r" \(docs/[^)]*\)", "", text)
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}." if text else ""


def _head(text: str) -> Iterator[str]:
    """Yield what a file says of itself first, and its usage, which is indented or begins as a command does."""
    comments = re.match(r'(?:#![^\n]*\n)?((?:#[^\n]*\n)+)|"""(.*?)"""', text, re.S)
    assert comments, "it has a head"  # noqa: S101
    lines = [re.sub("^# ?", "", line) for line in (comments[1] or comments[2]).splitlines()]
    yield f"{lines[0]}\n"
    usage = [
        line.strip().removeprefix("docker compose run --rm ")
        for line in lines
        if re.match(r"  \S|   ?\S|docker compose ", line)
    ]
    yield "\n".join(f"    {line}" for line in usage) + "\n"


def _programs() -> dict[str, click.Command]:
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
