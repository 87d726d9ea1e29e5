"""The companion of the guided tour: which phase somebody is in, by what is to be seen, and the next step."""

import shlex

from rich.table import Table as Grid

from trainer.console.terminal import Console
from trainer.settings import Settings
from trainer.workshop import progress, seen
from trainer.workshop.progress import Phase
from trainer.workshop.words import COMMANDS, PAGES, WORDS


def workshop(settings: Settings, language: str, console: Console) -> None:
    """Print the phases, what is seen of each, and what comes next; change nothing."""
    found, words = seen.look(settings), WORDS[language]
    phases = progress.phases(found)
    now = progress.current(phases)
    console.print(f"{words['title']}\n", highlight=False)
    console.print(_grid(phases, now, words))
    if now is None:
        console.print(f"\n{words['all_done']}", highlight=False)
        return
    number, name = phases.index(now) + 1, words[now.name]
    console.print(f"\n{words['where'].format(number=number, name=name)}", highlight=False)
    console.print(words["next"].format(step=words[f"{now.name}_next"]), highlight=False, soft_wrap=True)
    if (command := COMMANDS.get(now.name)) is not None:
        asked = command.format(challenger=progress.challenger(found) or "VERSION")
        console.print(f"\n    {_as_typed(asked, settings)}\n", highlight=False, soft_wrap=True)
    page = f"docs/workshop/{language}/{PAGES[now.name]}.md"
    console.print(words["page"].format(page=page), highlight=False, soft_wrap=True)


def _grid(phases: list[Phase], now: Phase | None, words: dict[str, str]) -> Grid:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for number, phase in enumerate(phases, 1):
        mark = "✓" if phase.is_done else "→" if phase is now else " "
        grid.add_row(f"{mark} {number}", words[phase.name], words[phase.told].format(**phase.facts))
    return grid


def _as_typed(command: str, settings: Settings) -> str:
    """Return a command of the trainer as a person types it: in the stack, or without Docker."""
    if settings.image is not None:
        return f"docker compose run --rm trainer {command}"
    verb, *options = shlex.split(command)
    version = f" VERSION={options.pop(0)}" if verb == "promote" else ""
    return f"make {verb}{version}" + (f' ARGS="{shlex.join(options)}"' if options else "")
