"""Says whether `train` would take its options, and looks at no data: `python -m trainer.cli.check OPTION…`, in a process of its own."""

import os
import sys

from trainer.cli.imports import importing
from trainer.cli.training import plan_of_arguments
from trainer.errors import SettingsError
from trainer.settings import Settings


def main(arguments: list[str]) -> None:
    """End with exit code 1 and a line that names the option, its value and what is expected, where one cannot be used."""
    wanted = plan_of_arguments(Settings.from_env(os.environ), arguments)
    with importing():
        from trainer.fit import model_selection
    try:
        model_selection.check(wanted)
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
