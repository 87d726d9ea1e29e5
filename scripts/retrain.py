"""Train on the stack of this folder where there is something new, and say in Markdown what came of it.

    python3 scripts/retrain.py OUT ["OPTIONS of train"]

writes OUT/record.json, the promotion record, and OUT/summary.md: the leaderboard, and who was promoted and why. Its exit code is that of the
training. It is what the workflows call (.github/workflows/retrain.yml, .gitlab-ci.yml), on the machine that has the stack, with any Python.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMMAND = ("docker", "compose", "run", "--rm", "-T", "trainer", "train", "--if-new", "--json")


def main(arguments: list[str], command: tuple[str, ...] = COMMAND) -> int:
    """Train, write both files, and return the exit code."""
    if not 1 <= len(arguments) <= 2:
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(arguments[0])
    out.mkdir(parents=True, exist_ok=True)
    try:
        options = shlex.split(arguments[1]) if len(arguments) == 2 else []
    except ValueError as error:
        print(f"retrain: {arguments[1]!r} are no options: {error}", file=sys.stderr)
        return 2
    code, last = _run([*command, *options], out / "record.json")
    (out / "summary.md").write_text(summary(code, (out / "record.json").read_text(), last))
    return code


def _run(command: list[str], path: Path) -> tuple[int, str]:
    """Run a command whose output goes into a file; return its exit code and the last line of what it said, which goes on to our stderr."""
    last = ""
    with (
        path.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace") as process,
    ):
        for line in process.stderr or ():
            sys.stderr.write(line)
            last = line.strip() or last
    return process.returncode, last


def summary(code: int, record: str, last: str) -> str:
    """Return what came of a training, as Markdown."""
    if code:
        return f"### Training failed\n\nExit code {code}: {_plain(last)}\n"
    found = json.loads(record)
    if found.get("unchanged"):
        return f"### Nothing new to train on\n\n{_plain(found['reason'])}.\n"
    return "\n".join([*_decision(found), *_leaderboard(found.get("leaderboard") or []), ""])


def _decision(record: dict[str, Any]) -> Iterator[str]:
    name, version = _plain(record["model_name"]), _plain(record["version"])
    yield f"### Version {version} of {name} is {'promoted' if record['promoted'] else 'not promoted'}"
    yield ""
    yield f"{_plain(record['reason'])}."
    yield ""
    yield "| | |"
    yield "|---|---|"
    data, metric = record["data"], record["metric"]
    score = record["metrics"].get(f"test_{metric}")
    rows = {
        "algorithm": record["algorithm"],
        f"test {metric}": "" if score is None else f"{score:.4g}",
        "rule": record["rule"],
        "data": f"{data['file']}, {data['rows']} rows, sha256 {data['sha256'][:12]}",
        "trainings that these held-out rows have judged": record["attempts_on_this_data"],
        "run": record["run_id"],
        "commit": record.get("git_commit") or "not known",
    }
    for key, value in rows.items():
        yield f"| {_plain(key)} | {_plain(value)} |"


def _leaderboard(board: list[dict[str, Any]]) -> Iterator[str]:
    if not board:
        return
    yield from ("", f"| | algorithm | {_plain(board[0]['metric'])}, mean of the folds | spread |", "|---|---|---|---|")
    for each in board:
        mean, spread = ("" if value is None else f"{value:.4g}" for value in (each["mean"], each["spread"]))
        yield f"| {each['place'] or ''} | {_plain(each['algorithm'])} | {mean} | ± {spread} |"


def _plain(text: object) -> str:
    """Return a text of others' as one line of Markdown that is nothing but this text, and calls nobody by @."""
    line = " ".join(str(text).split())
    return "".join(f"&#{ord(letter)};" if letter in "\\`*_{}[]<>()#!|~@&" else letter for letter in line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
