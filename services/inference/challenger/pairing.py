"""Who answers beside Production in one worker: the challenger, as far as the trainer has let it and nothing speaks against it."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b

from contract.errors import Refused
from contract.mlmodel import manifest
from contract.tracking.challenge import TAG, Challenge

from inference.challenger.guard import Guard, Limits
from inference.challenger.split import Split
from inference.model.deployment import Deployment
from inference.model.version import ModelVersion

log = logging.getLogger("inference")


class Pairing:
    """The split between what is in Production and its challenger; `on_return` is told of whom the guard has sent away, and why."""

    def __init__(self, limits: Limits, on_return: Callable[[ModelVersion, str], None]) -> None:
        self.problem = self.returned = ""
        self.experiment = b""
        """what clients' keys are hashed with while there is a challenger, empty where there is none"""
        self._limits, self._on_return = limits, on_return
        self._known: tuple[Deployment | None, Deployment | None, str] = None, None, ""
        self._split: Split | None = None
        self._sent_away: ModelVersion | None = None
        self._one_at_a_time = threading.Lock()

    def renew(
        self, champion: Deployment | None, challenger: Deployment | None, told: ModelVersion | None
    ) -> Split | None:
        """Return which requests the challenger answers now; `told` is its version as the registry poller last told of it."""
        text = told.tags.get(TAG, "") if challenger and told == challenger.version else ""
        with self._one_at_a_time:
            if (champion, challenger, text) != self._known:
                self._known, self._split, self.problem = (champion, challenger, text), None, ""
                self.experiment = _experiment(challenger, text)
                if challenger is None or challenger.version != self._sent_away:
                    self.returned = ""
                if champion and challenger and text and not self.returned:
                    self._split = self._split_of(champion, challenger, text)
            return self._split if self._split is None or time.time() < self._split.until else None

    def _split_of(self, champion: Deployment, challenger: Deployment, text: str) -> Split | None:
        if champion.version == challenger.version:
            self.problem = "it is in Production"
            return None
        if change := manifest.breaking_change(champion.model.description, challenger.model.description):
            self.problem = f"{change}; that would break requests that Production answers"
            log.warning("the challenger, version %s, answers nobody: %s", challenger.version.version, self.problem)
            return None
        try:
            found = Challenge.of(text)
        except Refused:  # who verified it has looked
            return None
        until = datetime.fromisoformat(found.until).timestamp()
        if not found.percent or time.time() >= until:
            return None
        guard = Guard(champion, challenger, lambda reason: self._send_away(challenger.version, reason), self._limits)
        return Split.of(replace(challenger, watch=guard), found.key, found.percent, until)

    def _send_away(self, version: ModelVersion, reason: str) -> None:
        """Have Production answer everybody: first here, and then, as whoever is told of it passes it on, everywhere."""
        with self._one_at_a_time:
            self._sent_away, self._split, self.returned = version, None, reason
        log.warning("the challenger, version %s, answers nobody any more: %s", version.version, reason)
        self._on_return(version, reason)


def _experiment(challenger: Deployment | None, text: str) -> bytes:
    """Return the key of a challenge; where the alias alone was set, the version is one."""
    if challenger is None:
        return b""
    try:
        return Challenge.of(text).key.encode()
    except Refused:
        return f"{challenger.version.version} {challenger.version.model_id}".encode()[: blake2b.MAX_KEY_SIZE]
