"""Show the audit log, or append a line to it.

docker compose run --rm audit                                            all lines, the oldest first
docker compose run --rm audit note WHAT OF FROM TO BY [WHY]              append one; - where there is no FROM or TO
"""

import os
import sys

import audit


def main(arguments: list[str]) -> int:
    """Run the command; return the exit code."""
    if arguments[:1] == ["note"] and len(arguments) in (6, 7):
        what, of, before, after, by, *why = arguments[1:]
        audit.note(what, of, None if before == "-" else before, None if after == "-" else after, by, *why)
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(os.environ["AUDIT_FILE"], encoding="utf-8") as file:
            sys.stdout.writelines(file)
    except FileNotFoundError:
        pass  # nothing has changed yet
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
