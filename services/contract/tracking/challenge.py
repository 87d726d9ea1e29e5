"""The challenge: what the trainer says of the version behind the alias `challenger`, and the service holds itself to.

It is a tag of that version: JSON with a signature over what it says and of whom. (What `auto` says is the trainer's to hold to.) So whoever only reaches MLflow can make no
version answer anybody that the holder of the key has not let answer, nor more of them than that ever was, nor for longer. An earlier share
of the same version can be brought back, until it is over by itself: its signature holds.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from math import inf

from contract.display import quoted
from contract.errors import Refused

# In lower case, as MLflow's own UI writes every alias.
ALIAS = "challenger"
TAG = "challenge"
# The tag of a version that is challenged no more: nobody but an admin may take a tag away where MLflow asks for a login.
OVER = "over"
# Records of challenges, beside those of Production's moves.
RECORD = "challenge."
# Production answers at least as many as its challenger.
MOST_PERCENT = 50.0
MOST_CHARACTERS = 450
MOST_KEY = 32
# What a signature is over begins so, so that it is no signature over anything else.
PURPOSE = "mlflow-stack challenge 1"


@dataclass(frozen=True)
class Challenge:
    """A share of the requests that a challenger answers."""

    percent: float
    """from 0, for none, to MOST_PERCENT"""
    key: str
    """which experiment it is: which clients are among the share follows from it"""
    since: str
    """ISO 8601 with a time zone"""
    until: str
    """when it is over by itself, likewise"""
    signature: str = ""
    auto: float | None = None
    """by how much it has to be better for the service `schedule` to promote it; None where a person promotes it or ends it"""

    @classmethod
    def of(cls, text: str) -> "Challenge":
        """Return what a tag says; raise Refused where it is none of ours."""
        try:
            if len(text) > MOST_CHARACTERS:
                raise ValueError(f"{len(text)} characters")
            found = cls(**json.loads(text))
            found.check()
        except (ValueError, TypeError, RecursionError) as error:
            raise Refused(f"its tag {TAG!r} is {quoted(text)}, which `challenge` has not written") from error
        return found

    def check(self) -> None:
        """Raise ValueError where a field is not what it has to be."""
        texts = (self.key, self.since, self.until, self.signature)
        if not all(isinstance(text, str) for text in texts) or not 0 < len(self.key.encode()) <= MOST_KEY:
            raise ValueError("a field is no text, or too long")
        if type(self.percent) not in (int, float) or not 0 <= self.percent <= MOST_PERCENT:
            raise ValueError(f"percent is {self.percent!r}; expected 0 to {MOST_PERCENT:g}")
        if self.auto is not None and not (type(self.auto) in (int, float) and 0 <= self.auto < inf):
            raise ValueError(f"auto is {self.auto!r}; expected a number from 0")
        for text in (self.since, self.until):
            if datetime.fromisoformat(text).tzinfo is None:
                raise ValueError("a time has no zone")

    @property
    def text(self) -> str:
        """It as the tag has it."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(said, separators=(",", ":"))

    def signed_bytes(self, model: str, version: str, model_id: str) -> bytes:
        """Return what its signature is over."""
        said = [self.percent, self.key, self.since, self.until, *([] if self.auto is None else [self.auto])]
        return json.dumps([PURPOSE, model, version, model_id, *said]).encode()

    def is_over(self, now: datetime) -> bool:
        """Tell whether its time has come."""
        return now >= datetime.fromisoformat(self.until)

    def with_signature(self, signature: str) -> "Challenge":
        return replace(self, signature=signature)
