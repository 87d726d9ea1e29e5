"""Watch the registry for candidates, and have each of them reviewed by a process of its own.

This process imports nothing of MLflow's and reads nothing of a version: what ends a review, or takes its memory, is not the end
of the watch. All that it knows is in the registry, so it may be stopped and started at any time.
"""

import json
import time
from dataclasses import dataclass, field

import click
from contract.display import without_login
from contract.settings import told
from contract.tracking.rest import is_server

from trainer import child
from trainer.console import terminal
from trainer.errors import SettingsError, TrackingError
from trainer.settings import Settings
from trainer.tracking import rest

# A candidate whose review does not come to its end (MLflow is gone, say) is tried again, each time later, up to so many seconds.
LONGEST_PAUSE = 300.0

Candidate = tuple[str, str]
"""registered model and version"""


@dataclass
class Pauses:
    """Until when candidates are left alone whose last review did not come to its end."""

    seconds: float
    """of the first pause"""
    _until: dict[Candidate, tuple[float, float]] = field(default_factory=dict)

    def of(self, waiting: list[Candidate]) -> list[Candidate]:
        """Return those whose turn it is; whatever is no candidate any more is forgotten."""
        self._until = {one: pause for one, pause in self._until.items() if one in waiting}
        return [one for one in waiting if self._until.get(one, (0.0, 0.0))[0] <= time.monotonic()]

    def add(self, one: Candidate) -> None:
        """Note that a review has ended; where it was to the end, the version is no candidate any more."""
        pause = min(2 * self._until[one][1], LONGEST_PAUSE) if one in self._until else self.seconds
        self._until[one] = time.monotonic() + pause, pause


def watch(settings: Settings) -> None:
    """Look for candidates every so many seconds and review them, one after the other, until a signal ends it."""
    if not is_server(settings.tracking_uri):
        raise SettingsError(
            f"MLFLOW_TRACKING_URI is {without_login(settings.tracking_uri)!r}; a server is watched, "
            "`review` reviews a candidate in a file"
        )
    pauses, said, passed_over = Pauses(settings.review_poll_seconds), "", set[str]()

    def tell(words: str) -> None:
        if words not in passed_over:  # once, and not at each look
            click.echo(f"reviewer: {words}", err=True)
            passed_over.add(words)

    shown = told(settings)
    click.echo(terminal.one_line(f"reviewer: settings: {json.dumps(shown, ensure_ascii=False)}"))
    click.echo(f"reviewer: looking for the alias {rest.CANDIDATE} at {shown['tracking_uri']}")
    while True:
        try:
            waiting = rest.candidates(settings.tracking_uri, tell)
            words = ""
        except TrackingError as error:
            waiting, words = [], str(error)
        if words != said:  # once, and not at each look
            click.echo(f"reviewer: {words or 'MLflow answers again'}", err=bool(words))
            said = words
        for one in pauses.of(waiting):
            _review(one[0])
            pauses.add(one)
        time.sleep(settings.review_poll_seconds)


def _review(name: str) -> None:
    """Review what is the candidate of a registered model by the time that this begins."""
    with child.started(["review", f"--model-name={name}"]):
        pass  # it ends by itself
