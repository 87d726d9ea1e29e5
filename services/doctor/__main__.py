"""The doctor in its container, `python -m doctor`, and without Docker, `python -m doctor FOLDER REPOSITORY`.

People run scripts/doctor and `make doctor`. The container prints JSON, which scripts/doctor reads.
"""

import os
import sys
from pathlib import Path

from doctor import embedded
from doctor.host.command import parser
from doctor.patience import exit_code
from doctor.report import as_json, text


def main(arguments: list[str]) -> int:
    """Print the rows; the container's exit code says that it has looked, the other one what it has found."""
    if arguments and not arguments[0].startswith("-"):
        folder, repository, *rest = arguments
        options = parser("make doctor").parse_args(rest)
        rows = embedded.look(Path(folder), repository, options.patience)
        print(as_json(rows) if options.json else text(rows))
        return exit_code(rows)
    from doctor.stack import command

    print(as_json(command.look(os.environ, parser("doctor").parse_args(arguments).patience)))
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # a thread that still hangs is not waited for
