"""Keeps the model of one worker: loads what it is told to load, aside, and changes to it when it is told to."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from contract.display import first_line
from contract.version_files import VersionFiles

from inference.errors import ModelRefused
from inference.ipc.messages import (
    NOT_ASKED,
    Drop,
    Load,
    Loaded,
    Note,
    Offer,
    Refused,
    Report,
    Serve,
    Serving,
    State,
    ToPoller,
    ToWorker,
)
from inference.model.deployment import Deployment
from inference.model.model import Model

# Characters of why a version is refused: an error may quote what is in a file.
MOST_REASON = 1000

log = logging.getLogger("inference")


class Poller(Protocol):
    """Who says what is to be served."""

    def messages(self) -> Iterator[ToWorker]: ...

    def answer(self, message: ToPoller) -> None: ...


class ModelKeeper:
    """Holds the model of one worker. `served` is replaced whole, so each request sees one version.

    It listens and loads in a thread of its own, beside the one that answers requests.
    """

    def __init__(self, load: Callable[[VersionFiles], Model]) -> None:
        self.served: Deployment | None = None
        self.state = State(NOT_ASKED)
        self._load = load
        self._aside: tuple[int, Model] | None = None
        self._refusal: str | None = None

    @property
    def reason(self) -> str:
        """Why nothing is served by this worker."""
        return self.state.problem or self._refusal or "the model is being loaded"

    def follow(self, poller: Poller, at_end: Callable[[], None], wait_seconds: float) -> None:
        """Do what the poller says from now on; return when it has said what is served, or after `wait_seconds`."""
        told = threading.Event()

        def listen() -> None:
            with suppress(OSError):  # it may be gone before it is answered
                for message in poller.messages():
                    self.take(message, poller)
                    if isinstance(message, Report):
                        told.set()
            at_end()

        threading.Thread(target=listen, name="model-keeper", daemon=True).start()
        told.wait(wait_seconds)

    def take(self, message: ToWorker, poller: Poller) -> None:
        """Do what one message says."""
        match message:
            case Report() | Note():
                self.state = message.state
            case Drop():
                self._aside = None
            case Load() | Serve():
                poller.answer(self._answer_to(message))

    def _answer_to(self, question: Load | Serve) -> ToPoller:
        try:
            return self._load_aside(question) if isinstance(question, Load) else self._serve(question)
        except ModelRefused as error:
            return self._refusal_of(question, str(error))
        except Exception as error:  # whatever it is, it must neither end the thread nor what is being served
            log.exception("loading version %s failed", question.offer.version.version)
            return self._refusal_of(question, f"it cannot be loaded: {type(error).__name__}: {first_line(error)}")

    def _refusal_of(self, question: Load | Serve, reason: str) -> Refused:
        reason = first_line(reason, MOST_REASON)
        self._refusal = f"version {question.offer.version.version} is refused: {reason}"
        return Refused(question.deployment, question.offer.id, question.phase, reason)

    def _load_aside(self, question: Load) -> Loaded:
        self._prepare(question.offer)
        return Loaded(question.deployment, question.offer.id)

    def _serve(self, question: Serve) -> Serving:
        offer = question.offer
        self.served = Deployment(self._prepare(offer), offer.version, offer.metrics, offer.since)
        self._aside = None
        return Serving(question.deployment, offer.id, time.monotonic_ns())

    def _prepare(self, offer: Offer) -> Model:
        if self._aside is None or self._aside[0] != offer.id:
            self._aside = None  # let go of it before the next one is there
            self._aside = offer.id, self._load(VersionFiles(Path(offer.folder), offer.files))
        return self._aside[1]
