"""What one worker serves: of each deployment it loads what it is told to load, aside, and changes to it when it is told to."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from contract.display import first_line
from contract.mlmodel.manifest import Description
from contract.version_files import VersionFiles

from inference.challenger.guard import Limits
from inference.challenger.pairing import Pairing
from inference.challenger.split import Split
from inference.errors import ModelRefused
from inference.ipc.messages import (
    NOT_ASKED,
    DeploymentSpec,
    Drop,
    Load,
    Loaded,
    Note,
    Refused,
    Report,
    Returned,
    Serve,
    Serving,
    State,
    Stop,
    ToPoller,
    ToWorker,
)
from inference.model.deployment import Deployment, headers_of
from inference.model.model import Model
from inference.model.version import ModelVersion

# Characters of why a version is refused: an error may quote what is in a file.
MOST_REASON = 1000

log = logging.getLogger("inference")


class Poller(Protocol):
    """Who says what is to be served."""

    def messages(self) -> Iterator[ToWorker]: ...

    def answer(self, message: ToPoller) -> None: ...


class ActiveModel:
    """Holds the model of one deployment. `served` is replaced whole, so each request sees one version."""

    def __init__(
        self,
        name: str,
        load: Callable[[VersionFiles, Description], Model],
        challenger: "ActiveModel | None" = None,
        limits: Limits | None = None,
    ) -> None:
        """`challenger` is what may answer a share of its requests, within limits."""
        self.name = name
        self.challenger = challenger
        self.split: Split | None = None
        """which requests the challenger answers; None, as long as it answers none, is all that a request looks at"""
        self.served: Deployment | None = None
        # What answers say, and are counted as, while nothing is served.
        self.labels = name, "none"
        self.headers = headers_of(*self.labels)
        self.state = State(NOT_ASKED)
        self._load = load
        self._aside: tuple[int, Model] | None = None
        self._refusal: str | None = None
        self._pairing = Pairing(limits or Limits(), self._return)
        self._tell: Callable[[ToPoller], None] = lambda message: None

    @property
    def reason(self) -> str:
        """Why nothing is served by this worker."""
        return self.state.problem or self._refusal or "the model is being loaded"

    @property
    def split_problem(self) -> str:
        """Why the challenger answers nobody although it is to, empty where nothing is in the way."""
        return self._pairing.problem

    @property
    def experiment(self) -> bytes:
        """What clients' keys are hashed with while there is a challenger, empty where there is none."""
        return self._pairing.experiment

    @property
    def returned(self) -> str:
        """Why this worker has sent the challenger away, empty where it has not."""
        return self._pairing.returned

    def take(self, message: ToWorker, poller: Poller) -> None:
        """Do what one message says."""
        match message:
            case Report() | Note():
                self.state = message.state
            case Drop():
                self._aside = None
            case Stop():
                self.served = self._aside = self._refusal = None
                self.state = State(None)
            case Load() | Serve():
                poller.answer(self._answer_to(message))

    def pair(self, tell: Callable[[ToPoller], None]) -> None:
        """Find out which requests the challenger answers now; `tell` tells the poller where it has to be sent away."""
        if (other := self.challenger) is not None:
            self._tell = tell
            self.split = self._pairing.renew(self.served, other.served, other.state.version)

    def end_split_in_time(self) -> None:
        """Let the challenger answer nobody once its time is over."""
        if (split := self.split) is not None and time.time() >= split.until:
            self.split = None

    def _return(self, version: ModelVersion, reason: str) -> None:
        self.split = None
        assert self.challenger is not None  # noqa: S101 - it is who is sent away
        with suppress(OSError):  # the poller may be gone, and the service with it
            self._tell(Returned(self.challenger.name, version, reason))

    def _answer_to(self, question: Load | Serve) -> ToPoller:
        try:
            return self._load_aside(question) if isinstance(question, Load) else self._serve(question)
        except ModelRefused as error:
            return self._refusal_of(question, str(error))
        except Exception as error:  # whatever it is, it must neither end the thread nor what is being served
            log.exception("loading version %s failed", question.spec.version.version)
            return self._refusal_of(question, f"it cannot be loaded: {type(error).__name__}: {first_line(error)}")

    def _refusal_of(self, question: Load | Serve, reason: str) -> Refused:
        reason = first_line(reason, MOST_REASON)
        self._refusal = f"version {question.spec.version.version} is refused: {reason}"
        return Refused(question.deployment, question.spec.id, question.phase, reason)

    def _load_aside(self, question: Load) -> Loaded:
        self._prepare(question.spec)
        return Loaded(question.deployment, question.spec.id)

    def _serve(self, question: Serve) -> Serving:
        spec = question.spec
        self.served = Deployment(self._prepare(spec), spec.version, spec.metrics, spec.since)
        self._aside = None
        return Serving(question.deployment, spec.id, time.monotonic_ns())

    def _prepare(self, spec: DeploymentSpec) -> Model:
        if self._aside is None or self._aside[0] != spec.id:
            self._aside = None  # let go of it before the next one is there
            files, description = VersionFiles(Path(spec.folder), spec.files), Description.of_json(spec.description)
            self._aside = spec.id, self._load(files, description)
        return self._aside[1]


class Deployments(dict[str, ActiveModel]):
    """What one worker serves, by the name of the model. Where a request names none, the first of them is asked."""

    def __init__(self, active: Iterable[ActiveModel]) -> None:
        super().__init__((one.name, one) for one in active)
        self.first = next(iter(self.values()))

    def asked(self, name: str) -> ActiveModel:
        """Return what answers for a model; where there is none of this name, what is asked where none is named."""
        return self.get(name, self.first)

    def look(self) -> None:
        """Do what is to be done about once in a second."""
        for active in self.values():
            active.end_split_in_time()

    def follow(self, poller: Poller, at_end: Callable[[], None], wait_seconds: float) -> None:
        """Do what the poller says from now on, in a thread that loads models beside the one that answers requests.

        Returns when it has said of each deployment what is served, or after `wait_seconds`. A challenger has a thread of its own,
        and nobody waits for one that is only being tried.
        """
        challenged = {one.challenger.name: one for one in self.values() if one.challenger}
        untold, told = {*self, *challenged}, threading.Event()
        of_challengers: SimpleQueue[ToWorker] = SimpleQueue()

        def take(message: ToWorker) -> None:
            name = message.deployment
            champion, enough = challenged.get(name) or self[name], Report | Note if name in challenged else Report
            active = champion.challenger if name in challenged else champion
            active.take(message, poller)  # type: ignore[union-attr]
            champion.pair(poller.answer)
            if isinstance(message, enough):
                untold.discard(name)
                if not untold:
                    told.set()

        def listen() -> None:
            with suppress(OSError):  # it may be gone before it is answered
                for message in poller.messages():
                    of_challengers.put(message) if message.deployment in challenged else take(message)
            at_end()

        def listen_for_challengers() -> None:
            with suppress(OSError):
                while True:
                    take(of_challengers.get())

        for target in (listen, listen_for_challengers) if challenged else (listen,):
            threading.Thread(target=target, name="deployments", daemon=True).start()
        told.wait(wait_seconds)
