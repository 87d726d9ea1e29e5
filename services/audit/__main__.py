"""Show the audit log, or append a line to it.

docker compose run --rm audit                                            all lines, the oldest first
docker compose run --rm audit note WHAT OF FROM TO BY [WHY]              append one; - where there is no FROM or TO

The service audit-log is `python -m audit keep`.
"""

import json
import os
import re
import sys
from pathlib import Path

import audit
from audit import keeper

# jq, which the backups write with, puts no space there.
TIME = re.compile(r'"time": ?"([^"]*)"')


def main(arguments: list[str]) -> int:
    """Run the command; return the exit code."""
    if arguments[:1] == ["note"] and len(arguments) in (6, 7):
        what, of, before, after, by, *why = arguments[1:]
        noted = audit.note(what, of, None if before == "-" else before, None if after == "-" else after, by, *why)
        return 0 if noted else 1
    if arguments == ["keep"]:
        keeper.keep(os.environ["AUDIT_FILE"], os.environ["AUDIT_LOG"])
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    sys.stdout.writelines(_lines(Path(os.environ["AUDIT_LOG"]).parent))
    return 0


def _lines(folder: Path) -> list[str]:
    """Return the lines of all files, by the time that each has; one that is no line of ours comes first, and does nothing to a terminal."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.jsonl"))]
    return sorted((f"{_visible(line)}\n" for text in texts for line in text.split("\n") if line), key=_time)


def _visible(line: str) -> str:
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)


def _time(line: str) -> str:
    found = TIME.search(line)
    return found[1] if found else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
