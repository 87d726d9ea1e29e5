"""A change of what all workers serve, in two phases: all load it aside, and when all of them have, all are told to change.

Where one refuses it, or ends over it, none serves it. A worker that joins is told what is served, and misses no change.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from contract.mlmodel import manifest
from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles
from msgspec import structs, to_builtins

from inference.errors import FetchFailed, ModelRefused, ProcessEnded
from inference.ipc.messages import (
    NOT_ASKED,
    Attempt,
    DeploymentSpec,
    Drop,
    Load,
    Note,
    Refused,
    Report,
    Serve,
    Serving,
    State,
    ToWorker,
)
from inference.ipc.server import Answer, Deliver, NoAnswer
from inference.model.version import ModelVersion
from inference.rollout.backoff import FIRST_RETRY_SECONDS

# Within which all workers have to load a version, and to change to it.
LOAD_SECONDS = 120
SWAP_SECONDS = 10

log = logging.getLogger("inference")


@dataclass(frozen=True)
class Candidate:
    """A version that has been verified, and may be served."""

    version: ModelVersion
    files: VersionFiles
    description: Description


@dataclass(frozen=True)
class Swap:
    """A change that was made: to what, by how many workers, and how far apart the first and the last of them were."""

    version: ModelVersion
    workers: int
    window_ms: float


class Workers(Protocol):
    """Who serves what is found."""

    def ask(self, question: Load | Serve, seconds: float) -> list[Answer]: ...

    def remind(self, question: Serve) -> int: ...

    def tell(self, message: ToWorker) -> None: ...


class Rollout:
    """What all workers serve of one deployment, and what they are told about it."""

    def __init__(
        self,
        deployment: str,
        workers: Workers,
        folder_of: Callable[[ModelVersion], Path],
        allow_schema_change: bool = False,
    ) -> None:
        """`folder_of` returns a folder with a version's files, whole; it may take minutes, and raises FetchFailed."""
        self.deployment, self._workers, self._folder_of = deployment, workers, folder_of
        self._allow_schema_change = allow_schema_change
        self.served: DeploymentSpec | None = None
        self._expected: Description | None = None
        self._state = State(NOT_ASKED)
        self.is_reported = False
        self._specs = 0
        self._remind_due = float("-inf")
        # Held while the workers change, and while one that joins is told what to serve: it misses no change between.
        self._changing = threading.Lock()
        # Held while the copy is looked through for a worker that joins, so that it is fetched once where it is damaged.
        self._catching_up = threading.Lock()

    @property
    def expected(self) -> Description | None:
        """What those who ask rely on, None as long as nothing was served."""
        return self._expected

    def expect(self, description: Description) -> None:
        """Take a version's input and output for what those who ask rely on, as long as nothing was served."""
        self._expected = self._expected or description

    def change_to(self, candidate: Candidate, metrics: dict[str, float]) -> Swap:
        """Let all workers load a version, and then change to it together.

        Raises ModelRefused where it would break requests or one refuses it, ProcessEnded where one ends over it, and
        FetchFailed where there is none.
        """
        self._check_compatible(candidate.description)
        self._specs += 1
        folder, files = str(candidate.files.folder), dict(candidate.files.digests)
        description = candidate.description.to_json()
        spec = DeploymentSpec(self._specs, folder, candidate.version, metrics, _now(), files, description)
        self._load(spec)
        with self._changing:
            answers = self._workers.ask(Serve(self.deployment, spec), SWAP_SECONDS)
            self.served, self._expected = spec, candidate.description
        return _swap_of(candidate.version, answers)

    def _check_compatible(self, description: Description) -> None:
        if self._expected is None or self._allow_schema_change:
            return
        if change := manifest.breaking_change(self._expected, description):
            raise ModelRefused(
                f"{change}; that would break requests that are right today, and ALLOW_SCHEMA_CHANGE=true lets it in"
            )

    def _load(self, spec: DeploymentSpec) -> None:
        answers = self._workers.ask(Load(self.deployment, spec), LOAD_SECONDS)
        if error := _refusal_in(answers):
            self._workers.tell(Drop(self.deployment, spec.id))
            raise error
        if not answers:
            raise FetchFailed(f"no worker is there to load {spec.version.uri}")

    def goes_on_as(self, candidate: Candidate) -> bool:
        """Tell whether a version is the one that is served, with the same files, and is only said to be signed otherwise.

        Else whoever writes that tag would make all workers load at each look what they have.
        """
        served, version = self.served, candidate.version
        if served is None or replace(served.version, signed_by=version.signed_by) != version:
            return False
        if served.files != dict(candidate.files.digests):
            return False
        self.update(version=version, folder=str(candidate.files.folder))
        return True

    def update(self, **changes: Any) -> None:
        """Change what is known of the version that is served: fields of its spec."""
        with self._changing:
            if self.served is not None:
                self.served = structs.replace(self.served, **changes)

    def remind(self) -> None:
        """Let workers that could not change with the others try again, now and then."""
        if self.served is None or time.monotonic() < self._remind_due:
            return
        with self._changing:
            behind = self._workers.remind(Serve(self.deployment, self.served))
        self._remind_due = time.monotonic() + (FIRST_RETRY_SECONDS if behind else 0.0)

    def begin(self, version: ModelVersion) -> None:
        """Tell the workers which version is being tried from now on, until the next report."""
        under_way = Attempt(version.version, _now())
        with self._changing:
            if self.served is None:
                what = f"version {version.version} of {version.name} is being fetched and checked"
                self._state = State(what, under_way=under_way)
                self._workers.tell(Note(self.deployment, self._state))
            else:
                self._state = structs.replace(self._state, under_way=under_way)
                self._workers.tell(Report(self.deployment, self._state))

    def report(self, problem: str | None) -> None:
        """Tell the workers how things are, where that is news; `problem` is why what is served is not what should be."""
        served = self.served
        state = State(problem, served.version, served.metrics) if served else State(problem)
        with self._changing:
            self.is_reported = True
            if to_builtins(state) != to_builtins(self._state):  # versions are equal whatever is said of them
                self._state = state
                self._workers.tell(Report(self.deployment, state))

    def catch_up(self, deliver: Deliver) -> None:
        """Tell a worker that joins what to serve, from a copy that is whole, and what there is to say.

        It loads nothing but what was verified: the spec has the digest of each file.
        """
        with self._catching_up:
            while not self._has_caught_up(deliver, self.served):
                pass  # what is served has changed while its copy was looked through

    def _has_caught_up(self, deliver: Deliver, served: DeploymentSpec | None) -> bool:
        """Look through the copy of what is served, and tell of it; return False where that is not served any more."""
        problem = None
        try:
            folder = str(self._folder_of(served.version)) if served else ""
        except (FetchFailed, ModelRefused) as error:
            problem = f"a worker that has just started cannot serve: {error}"
        with self._changing:
            if self.served is not served:
                return False
            if problem:
                log.warning("%s", problem)
                deliver([Report(self.deployment, structs.replace(self._state, problem=problem))])
            elif served:
                if folder != served.folder:
                    self.served = served = structs.replace(served, folder=folder)
                deliver([Serve(self.deployment, served), Report(self.deployment, self._state)])
            else:
                deliver([(Report if self.is_reported else Note)(self.deployment, self._state)])
        return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _refusal_in(answers: Sequence[Answer]) -> ModelRefused | None:
    """Return why a version is refused: first of all that a worker ended over it."""
    for answer in answers:
        if isinstance(answer, NoAnswer):
            return ProcessEnded(answer.reason)
    return next((ModelRefused(answer.reason) for answer in answers if isinstance(answer, Refused)), None)


def _swap_of(version: ModelVersion, answers: Sequence[Answer]) -> Swap:
    times = [answer.at for answer in answers if isinstance(answer, Serving)]
    return Swap(version, len(times), (max(times) - min(times)) / 1e6 if times else 0.0)
