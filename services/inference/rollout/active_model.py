"""Keeps the model of one worker: loads what it is told to load, aside, and changes to it when it is told to."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from contract.display import visible
from contract.version_files import VersionFiles

from inference.errors import ModelRefused
from inference.ipc.channel import Offer, State
from inference.model.deployment import Deployment
from inference.model.model import Model

# Characters of why a version is refused: an error may quote what is in a file.
MOST_REASON = 1000

log = logging.getLogger("inference")


class Speaker(Protocol):
    """Who tells the keeper what to do."""

    def messages(self) -> Iterator[dict[str, Any]]: ...

    def loaded(self, offer: Offer) -> None: ...

    def serving(self, offer: Offer) -> None: ...

    def refused(self, what: str, offer: Offer, reason: str) -> None: ...


class ModelKeeper:
    """Holds the model of one worker. `served` is replaced whole, so each request sees one version.

    It listens and loads in a thread of its own, beside the one that answers requests.
    """

    def __init__(self, load: Callable[[VersionFiles], Model]) -> None:
        self.served: Deployment | None = None
        self.state = State("the registry has not been asked yet")
        self._load = load
        self._aside: tuple[int, Model] | None = None
        self._refusal: str | None = None

    @property
    def reason(self) -> str:
        """Why nothing is served by this worker."""
        return self.state.problem or self._refusal or "the model is being loaded"

    def follow(self, speaker: Speaker, at_end: Callable[[], None], wait_seconds: float) -> None:
        """Do what the speaker says from now on; return when it has said what is served, or after `wait_seconds`."""
        told = threading.Event()

        def listen() -> None:
            with suppress(OSError):  # it may be gone before it is answered
                for message in speaker.messages():
                    self.take(message, speaker)
                    if "state" in message:
                        told.set()
            at_end()

        threading.Thread(target=listen, name="model-keeper", daemon=True).start()
        told.wait(wait_seconds)

    def take(self, message: dict[str, Any], speaker: Speaker) -> None:
        """Do what one message says."""
        if "state" in message or "note" in message:
            self.state = State.of(message.get("state") or message["note"])
        elif "drop" in message:
            self._aside = None
        elif "load" in message:
            self._obey("load", Offer.of(message["load"]), speaker)
        elif "serve" in message:
            self._obey("serve", Offer.of(message["serve"]), speaker)

    def _obey(self, what: str, offer: Offer, speaker: Speaker) -> None:
        act, done = {"load": (self._prepare, speaker.loaded), "serve": (self._serve, speaker.serving)}[what]
        try:
            act(offer)
        except ModelRefused as error:
            self._refuse(what, offer, str(error), speaker)
        except Exception as error:  # whatever it is, it must neither end the thread nor what is being served
            log.exception("loading version %s failed", offer.version.version)
            self._refuse(what, offer, f"it cannot be loaded: {type(error).__name__}: {error}", speaker)
        else:
            done(offer)

    def _refuse(self, what: str, offer: Offer, reason: str, speaker: Speaker) -> None:
        reason = visible(reason, MOST_REASON)
        self._refusal = f"version {offer.version.version} is refused: {reason}"
        speaker.refused(what, offer, reason)

    def _prepare(self, offer: Offer) -> Model:
        if self._aside is None or self._aside[0] != offer.id:
            self._aside = None  # let go of it before the next one is there
            self._aside = offer.id, self._load(VersionFiles(Path(offer.folder), offer.files))
        return self._aside[1]

    def _serve(self, offer: Offer) -> None:
        self.served = Deployment(self._prepare(offer), offer.version, offer.metrics, offer.since)
        self._aside = None
