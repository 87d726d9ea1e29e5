"""The trainer's command line: `python -m trainer COMMAND`, by default train."""

import gc
import os
import signal
import sys
from pathlib import Path

import click

from trainer import signals
from trainer.cli import adoption, production, training  # noqa: F401 - whose commands are those of the group
from trainer.cli.group import trainer
from trainer.cli.imports import THREADS
from trainer.console import terminal
from trainer.errors import TrainerError

__all__ = ["main", "trainer"]

for _command in trainer.commands.values():
    # Click would cut the first sentence off after 45 characters, and say nothing of the rest.
    _command.short_help = (_command.help or "").partition("\n\n")[0]


def main() -> None:
    """Run a command; an error is one line, and its exit code says of which kind it is."""
    terminal.protect()
    for variable, value in THREADS.items():
        os.environ.setdefault(variable, value)
    for number in signals.SIGNALS:
        signal.signal(number, signals.interrupt)
    # As it was typed: the package's command, or the container's.
    name = "mlflow-stack" if Path(sys.argv[0]).stem == "mlflow-stack" else "trainer"
    # Wherever it stands, before the command or after it.
    arguments = [argument for argument in sys.argv[1:] if argument != "--traceback"]
    try:
        trainer(arguments, prog_name=name)
    except signals.Interrupted as stop:
        click.echo(f"{name}: {stop}", err=True)
        sys.exit(stop.exit_code)
    except Exception as error:
        if "--traceback" in sys.argv:
            raise
        known = isinstance(error, TrainerError)
        words = str(error) if known else f"unexpected {type(error).__name__}: {error} ({name} --traceback shows where)"
        click.echo(terminal.one_line(f"{name}: {words}"), err=True)
        sys.exit(error.exit_code if isinstance(error, TrainerError) else 1)
    finally:
        # At its end Python looks for garbage among all that MLflow has imported: a second that nobody needs.
        gc.freeze()


if __name__ == "__main__":
    main()
