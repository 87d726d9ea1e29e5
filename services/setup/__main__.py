"""Run one set-up job: `python -m setup secrets|database|bucket`, or `database back`."""

import os
import sys
from importlib import import_module

from contract.process.imports import quick_imports

from setup.errors import SetupError

# A job's module is imported only when it runs: each needs other libraries, and has a second to find nothing to do.
JOBS = {"secrets": "setup.secret_files", "database": "setup.database", "bucket": "setup.bucket"}


def main(arguments: list[str]) -> int:
    """Run a job, and print each thing that it did; return the exit code."""
    name, *rest = arguments or [""]
    if name not in JOBS or rest not in ([], ["back"] if name == "database" else []):
        print("usage: docker compose run --rm secrets | database [back] | bucket", file=sys.stderr)
        return 2
    with quick_imports():
        job = import_module(JOBS[name])
    try:
        for line in getattr(job, rest[0] if rest else "run")(os.environ):
            print(f"{name}: {line}", flush=True)
    except SetupError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
