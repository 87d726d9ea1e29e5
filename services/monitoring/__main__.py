"""`monitor`: `python -m monitoring report|watch|query …`. What is kept is asked by the prediction log's own command.

Each part is imported when it is wanted: a query does not wait for statistics.
"""

import os
import sys

from contract.process.imports import quick_imports

USAGE = """usage: monitor COMMAND, each of which has --help

  report    drift and quality of a version, as text, as a page, and in MLflow
  watch     the same again and again, with /metrics and /status
  query     ask what is kept of predictions in SQL
  labels    send labels to the prediction service, or count those that came
"""


def main() -> int:
    """Run a command; return its exit code."""
    match sys.argv[1:]:
        case ["report", *arguments]:
            with quick_imports():
                from monitoring import command

            return command.main(arguments, os.environ)
        case ["watch", *arguments]:
            with quick_imports():
                from monitoring import watch

            return watch.main(arguments, os.environ)
        case ["query" | "labels", *_] as arguments:
            with quick_imports():
                from inference.prediction_log import command as of_log

            return of_log.main(arguments, os.environ)
        case ["-h" | "--help", *_]:
            print(USAGE, end="")
            return 0
        case []:
            print(USAGE, end="", file=sys.stderr)
        case [other, *_]:
            print(f"{USAGE}monitor: there is no command {other!r}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
