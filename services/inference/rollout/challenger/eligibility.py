"""What the version behind the alias `challenger` may do: what its tag says is verified, and whom the guard has sent away stays away.

MODEL/returned/ID.json      why a version was sent away; replicas that share the cache see it at their next look
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import msgspec
from contract.display import visible
from contract.errors import Refused
from contract.tracking.challenge import OVER, TAG, Challenge

from inference.errors import ModelRefused
from inference.model.version import ModelVersion
from inference.rollout.model_cache import NO_NOTE, read_note, write_note
from inference.rollout.registry import Registry

# Beside TAG, in the tags of a version as it is passed on to workers: why the guard has sent it away, and why it answers nobody.
# None of them is taken from the registry.
RETURNED, PROBLEM = "challenge returned", "challenge problem"
MOST_REASON = 300

Check = Callable[[bytes, str], None]
"""raises ModelRefused unless a signature over some bytes holds"""


class Note(msgspec.Struct):
    """That a version was sent away."""

    version: str
    reason: str
    time: str


class Returns:
    """The versions that the guard has sent away, on disk: once is for good."""

    def __init__(self, folder: Path, model_name: str) -> None:
        self._folder = folder / quote(model_name, safe="") / "returned"
        # As long as this process lives also where the disk takes nothing.
        self._known: dict[ModelVersion, str] = {}

    def reason(self, version: ModelVersion) -> str | None:
        """Return why a version was sent away, None where it was not."""
        if version in self._known:
            return self._known[version]
        try:
            found = visible(read_note(self._path(version), Note).reason, MOST_REASON)
        except NO_NOTE:
            return None
        return self._known.setdefault(version, found)

    def add(self, version: ModelVersion, reason: str) -> None:
        """Note that a version is sent away."""
        self._known[version] = reason = visible(reason, MOST_REASON)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):  # it is known here, and in the registry once `challenge status` was asked
            write_note(self._path(version), Note(version.version, reason, now))

    def _path(self, version: ModelVersion) -> Path:
        told = f"{version.version} {version.created_ms} {version.model_id}"
        return self._folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"


class Eligibility:
    """Tells of a challenger what it may do."""

    def __init__(self, check: Check | None, returns: Returns) -> None:
        """`check` is None where signatures are not asked for."""
        self._check, self.returns = check, returns
        self._last: tuple[ModelVersion, str, str] | None = None

    def of(self, version: ModelVersion) -> ModelVersion:
        """Return a version of the registry with tags that say what it may do."""
        told = {name: text for name, text in version.tags.items() if name not in (RETURNED, PROBLEM)}
        return self.still(replace(version, tags=told))

    def still(self, version: ModelVersion) -> ModelVersion:
        """Return a version whose tags said before what it may do with those that say it now."""
        tags = {name: text for name, text in version.tags.items() if name not in (TAG, RETURNED, PROBLEM)}
        if (reason := self.returns.reason(version)) is not None:
            return replace(version, tags=tags | {RETURNED: reason})
        text = version.tags.get(TAG, OVER)
        if problem := version.tags.get(PROBLEM, "") if text == OVER else self._problem(version, text):
            tags[PROBLEM] = problem
        elif text != OVER:
            tags[TAG] = text
        return replace(version, tags=tags)

    def _problem(self, version: ModelVersion, text: str) -> str:
        """Say why a tag lets nobody be answered, empty where it does; it is verified once."""
        if self._last is None or self._last[:2] != (version, text):
            self._last = version, text, self._found(version, text)
        problem = self._last[2]
        return problem or ("its time is over" if Challenge.of(text).is_over(datetime.now(UTC)) else "")

    def _found(self, version: ModelVersion, text: str) -> str:
        try:
            found = Challenge.of(text)
            if self._check is not None:
                self._check(found.signed_bytes(version.name, version.version, version.model_id), found.signature)
        except (Refused, ModelRefused) as error:
            return f"the share that its tag {TAG!r} gives it does not count: {error}"
        return ""


class ChallengerRegistry:
    """A registry whose version behind the alias has the tags that count."""

    def __init__(self, registry: Registry, eligibility: Eligibility) -> None:
        self._registry, self._eligibility = registry, eligibility
        self.location, self.deleted, self.metrics = registry.location, registry.deleted, registry.metrics

    def current(self) -> ModelVersion:
        """Return the version behind the alias; raise NoModel or RegistryUnreachable."""
        return self._eligibility.of(self._registry.current())
