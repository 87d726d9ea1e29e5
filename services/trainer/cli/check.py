"""Says whether `train` would take its options, and looks at no data: `python -m trainer.cli.check OPTION…`, in a process of its own."""

import os
import sys

import click

from trainer.cli.imports import importing
from trainer.cli.training import plan_of_arguments
from trainer.errors import SettingsError
from trainer.settings import Settings


def main(arguments: list[str]) -> None:
    """End with a SettingsError's exit code and one line of its words, where an option cannot be used."""
    with importing():
        from trainer.fit import model_selection
    try:
        model_selection.check(plan_of_arguments(Settings.from_env(os.environ), arguments))
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
