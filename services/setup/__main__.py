"""Run one set-up job: `python -m setup secrets|database|bucket`."""

import os
import sys
from importlib import import_module

from setup.errors import SetupError

# A job's module is imported only when it runs: each needs other libraries, and has a second to find nothing to do.
JOBS = {"secrets": "setup.secret_files", "database": "setup.database", "bucket": "setup.bucket"}


def main(arguments: list[str]) -> int:
    """Run a job, and print each thing that it did; return the exit code."""
    if len(arguments) != 1 or arguments[0] not in JOBS:
        print(f"usage: python -m setup {'|'.join(JOBS)}", file=sys.stderr)
        return 2
    name = arguments[0]
    try:
        for line in import_module(JOBS[name]).run(os.environ):
            print(f"{name}: {line}", flush=True)
    except SetupError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
