"""Whether what is served could be fetched again: found out now and then, before the copy in the cache is all that is left."""

import logging
import random
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future

from inference.errors import FetchFailed
from inference.ipc.messages import DeploymentSpec
from inference.model.version import ModelVersion
from inference.rollout.background_call import aside

log = logging.getLogger("inference")

# Between two questions, up to a tenth more or less, so that replicas do not ask all at once: as long as all is there, and while
# something is gone, so that what is back is soon not told as gone any more.
EVERY_SECONDS, GONE_SECONDS, JITTER = 60.0, 5.0, 0.1


class Losses:
    """What is gone, or deleted, of the version that is served; `ask` says it, None for nothing, or raises FetchFailed where it cannot."""

    def __init__(self, ask: Callable[[ModelVersion, Collection[str]], str | None]) -> None:
        self._ask = ask
        self._about: int | None = None
        self._found: str | None = None
        self._asked: Future[str | None] | None = None
        self._due = float("-inf")

    def look(self, served: DeploymentSpec | None) -> str | None:
        """Return what is known by now; nobody waits for a store that hangs."""
        if served is None:
            return None
        if self._about != served.id:
            self._about, self._found, self._asked, self._due = served.id, None, None, float("-inf")
        if time.monotonic() >= self._due:  # a question that has hung for so long is given up
            self._put_off(EVERY_SECONDS)
            self._asked = aside(lambda: self._ask(served.version, served.files))
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            try:
                self._found = asked.result()
                if self._found:
                    self._put_off(GONE_SECONDS)
            except FetchFailed:
                pass  # where it cannot be told, what was known goes on
            except Exception:
                log.exception("whether version %s could be fetched again cannot be found out", served.version.version)
        return self._found

    def _put_off(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
