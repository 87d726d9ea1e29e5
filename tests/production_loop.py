"""The walk of docs/monitoring.md, from a week of traffic with a drift in it to the version that takes over: its commands, on a stack.

Each command is typed as the page has it, but for what is another one there: moments, versions, and the pace of the traffic. What it prints is
held against the page, figures aside: who is answered by whom is drawn anew each time. Imports nothing of ours.
"""

import csv
import io
import re
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import requests

from tests.compose import ROOT, Stack, eventually
from tests.guided_tour import differs, steps_of, without_figures
from tests.pictures import TAKEN_ANEW

PAGE = ROOT / "docs" / "monitoring.md"
# A picture shows the page's own week; a test has less time. What the page gives comes after it, and counts.
PACE = "" if TAKEN_ANEW else " --day 0 --requests 70"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Printed(NamedTuple):
    """What came of a command."""

    exit_code: int
    text: str
    error: str


@dataclass
class Walk:
    """A person who walks along the page, part by part."""

    stack: Stack
    moments: dict[str, str] = field(default_factory=dict)
    """of the page, and what they are here"""
    variables: dict[str, str] = field(default_factory=dict)
    """that the page exports"""
    run_id: str = ""
    """of the report on the drift, in MLflow"""

    def through(self, part: str) -> list[Printed]:
        """Type the commands below a heading; fail where one prints another thing than the page shows."""
        (text,) = re.findall(rf"^### {part}\n(.*?)(?=^##)", PAGE.read_text(), re.M | re.S)
        said = []
        for step in steps_of(text):
            assert step.docker
            said.append(self._types(step.docker))
            printed = said[-1].text
            if TAKEN_ANEW:
                print(f"$ {step.docker}\n{printed}")
            assert (
                not step.shown or (wrong := differs(without_figures(step.shown), without_figures(printed))) is None
            ), f"{step.docker}: {wrong}\n{said[-1].error}"
            if "--percent" in step.docker:
                eventually("the challenger answers its share", lambda: self._challenger().get("mode") == "split", 120)
            if "api-key add" in step.docker:
                # A worker that has not read of it yet takes labels as those of anybody.
                self.stack.until_a_key_is_asked_for()
            if "live_traffic" in step.docker:
                self.moments |= dict(zip(MOMENT.findall(step.shown), MOMENT.findall(printed), strict=False))
                self._wait_until_kept(printed)
        return said

    @property
    def newest(self) -> str:
        """The version that was registered last."""
        return str(max(map(int, self.stack.versions())))

    def _challenger(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"} if (key := self.variables.get("API_KEY")) else {}
        answer = requests.get(f"{self.stack.url}/version", headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json().get("challenger") or {}

    def _types(self, command: str) -> Printed:
        for shown, here in self.moments.items():
            command = command.replace(shown, here)
        command = re.sub(r"(trainer challenge) \d+", rf"\1 {self.newest}", command)
        command = re.sub(r"^python (\S+)", rf"'{sys.executable}' \1{PACE}", command)
        command = command.replace("docker compose ", "docker compose --progress quiet ")
        exported = re.fullmatch(r"export (\w+)=\$\((.*)\)", command)
        result = subprocess.run(
            ["bash", "-c", exported[2] if exported else command],
            cwd=self.stack.folder,
            env=self.stack.environ() | self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if exported:
            self.variables[exported[1]] = result.stdout.strip()
        return Printed(result.returncode, result.stdout, result.stderr)

    def _wait_until_kept(self, printed: str) -> None:
        """Wait until all that a script has asked is in the log, with its labels, and what a challenger says to it."""
        asked = [int(count) for count in re.findall(r"Z +(\d+) +[\d.]+%", printed)]
        since = f"where time >= '{MOMENT.findall(printed)[0]}'"
        sql = f"from labelled select count(*) as rows {since}"
        eventually("all of it is kept, with its labels", lambda: self._asked(sql) == [{"rows": str(sum(asked))}], 120)
        if self._challenger():
            # Not for each row: with a log that is shipped twice a second, that of the first second may be gone before it is held.
            shadow = f"from shadow select count(*) as rows {since}"
            eventually("its challenger was asked", lambda: self._asked(shadow) not in ([], [{"rows": "0"}]), 120)

    def _asked(self, sql: str) -> list[dict[str, str]]:
        return asked_of(self.stack, sql)


def asked_of(stack: Stack, sql: str) -> list[dict[str, str]]:
    """Return the rows of a query of the prediction log, by a container that is up: one of its own would take another second."""
    command = ("exec", "-T", "watch", "python", "-m", "monitoring", "query", "--csv", sql)
    asked = stack.compose(*command, check=False)
    assert asked.returncode in (0, 3), asked.stderr  # 3: nothing is there yet
    return list(csv.DictReader(io.StringIO(asked.stdout)))
