"""The history of the Production alias, out of the records of its moves and of where the alias is; and the way back.

MLflow keeps no history of an alias and has no compare-and-swap. A command looks where the alias is, moves it, and leaves a
record, so a record tells of a span of time within which it looked and moved. Where the spans of two overlap, either may
have come first, and both may have looked before either moved. A position of the alias is taken for the work of others
only where no recorded move can have put it there.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any
from uuid import uuid4

from contract.display import quoted, visible

TAG = "move."
OTHERS = "others"
# Commands whose move is a way back: it takes away what came after its version.
BACK = ("rollback", "bootstrap")
# Anybody can write tags: what is read of them is bounded. A record of ours has 2000 characters at most.
MOST_RECORDS = 1000
MOST_CHARACTERS = 5000
MOST_NAMED = 3
VERSION = re.compile(r"[1-9][0-9]{0,9}")
# A record as people read it on MLflow's page of the registered model: 1 → 2 by promote: REASON [LOOKED/TIME].
RECORD = re.compile(
    r"(?:none|(?P<before>\d{1,10})) → (?P<version>\d{1,10}) by (?P<by>[^:\n]{1,50}): (?P<reason>.*)"
    r" \[(?P<looked>[^\[\]/\s]{1,40})/(?P<time>[^\[\]/\s]{1,40})\]",
    re.DOTALL,
)


@dataclass(frozen=True)
class Move:
    """One move of the alias."""

    time: str | None
    """when its record was made, UTC, ISO 8601; None where the move was only found out later"""
    by: str
    """the command that made it (train, promote, rollback, bootstrap), or OTHERS: the MLflow API, a notebook"""
    before: str | None
    """the version that was in Production when the command looked, None where none was"""
    version: str | None
    """the version that is from then on, None where the alias was deleted"""
    reason: str
    looked: str | None = None
    """when the command began to look, UTC, ISO 8601; None in records of earlier versions of this stack"""


def record(made: Move) -> str:
    """Return a move as its tag has it: a sentence, and between which moments it was made."""
    return f"{made.before or 'none'} → {made.version} by {made.by}: {made.reason} [{made.looked}/{made.time}]"


def key_of(made: Move, kind: str = TAG) -> str:
    """Return a key of its own for a record, so that two writers never lose each other's: the keys sort as they were made."""
    return f"{kind}{datetime.fromisoformat(str(made.time)):%Y%m%dT%H%M%S.%f}.{uuid4().hex[:8]}"


def parsed(tags: Mapping[str, str], kind: str = TAG) -> tuple[dict[str, Move], list[str]]:
    """Return the recorded moves among a registered model's tags by their keys, the oldest first, and remarks.

    `kind` is how the keys begin: those of Production's moves, or those of its challengers.

    A tag that is no readable record is passed over with a remark, and so are all but the newest MOST_RECORDS.
    """
    keys = sorted(key for key in tags if key.startswith(kind))
    found: dict[str, Move] = {}
    wrong: list[str] = []
    for key in keys[-MOST_RECORDS:]:
        try:
            found[key] = _read(tags[key])
        except ValueError as error:
            wrong.append(f"{visible(key, 60)} ({error})")
    return found, _remarks(wrong, len(keys))


def _remarks(wrong: list[str], keys: int) -> list[str]:
    remarks = []
    if wrong:
        more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        remarks.append(
            f"no readable record of a move, and passed over: the tag {', '.join(wrong[:MOST_NAMED])}{more} "
            "of the registered model"
        )
    if keys > MOST_RECORDS:
        remarks.append(f"of {keys} records of moves the newest {MOST_RECORDS} are looked at")
    return remarks


def _read(text: str) -> Move:
    """Return the move that a record tells of; raise ValueError saying what is wrong with it, in a few words."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{len(text)} characters")
    if found := RECORD.fullmatch(text):
        made = Move(**found.groupdict())
        _check(made)
        return made
    return _read_json(text)


def _read_json(text: str) -> Move:
    """Return the move of a record of an earlier version of this stack, which were JSON; raise ValueError."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("no sentence of ours, and no JSON") from None
    if not isinstance(content, dict):
        raise ValueError(f"{type(content).__name__} in place of an object")
    fields: dict[str, Any] = {name: content.get(name) for name in Move.__dataclass_fields__}
    made = Move(**fields)
    _check(made)
    return made


def _check(made: Move) -> None:
    """Raise ValueError naming a field that is not what a record has there."""
    expected = {
        "time": _is_time(made.time),
        "looked": made.looked is None or _is_time(made.looked),
        "by": isinstance(made.by, str) and 0 < len(made.by) <= 50,
        "before": made.before is None or _is_version(made.before),
        "version": _is_version(made.version),
        "reason": isinstance(made.reason, str),
    }
    for name, is_right in expected.items():
        if not is_right:
            raise ValueError(f"{name} is {quoted(getattr(made, name))}")


def _is_version(value: Any) -> bool:
    return isinstance(value, str) and VERSION.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


@dataclass(frozen=True, eq=False)
class _Span:
    """A move, and that it was made at some moment from `began` to `ended`, in seconds since 1970."""

    move: Move
    began: float
    ended: float
    seen_by: "_Span | None" = None
    """of a move by others: the recorded one that looked and found it"""


def _span(move: Move) -> _Span:
    ended = datetime.fromisoformat(str(move.time)).timestamp()
    began = ended if move.looked is None else datetime.fromisoformat(move.looked).timestamp()
    return _Span(move, min(began, ended), ended)


def with_those_by_others(records: Iterable[Move], now: str | None) -> Iterator[Move]:
    """Yield the recorded moves, and between them those that somebody else made; `now` is where the alias is."""
    spans = _in_order([_span(record) for record in records], now)
    known = [_Span(_by_others(None, None), -inf, -inf), *spans]
    last = None
    for span in spans:
        before = span.move.before
        if before != last and not _is_explained(span, known):
            theirs = _by_others(last, before)
            known.append(_Span(theirs, span.began, span.ended, seen_by=span))
            yield theirs
        yield span.move
        last = span.move.version
    if now != last:
        yield _by_others(last, now)


def _in_order(spans: list[_Span], now: str | None) -> list[_Span]:
    """Return the moves in an order in which they can have been made, each beginning where the last ended if that can be.

    It is found from the end, where the alias is: of those that may have been the last, the one that put it there.
    """
    left = sorted(spans, key=lambda span: span.ended)
    found: list[_Span] = []
    while left:
        latest = max(span.began for span in left)
        may_be_last = [span for span in left if span.ended >= latest]
        chosen = next((span for span in reversed(may_be_last) if span.move.version == now), left[-1])
        left.remove(chosen)
        found.append(chosen)
        now = chosen.move.before
    return found[::-1]


def _is_explained(look: _Span, known: list[_Span]) -> bool:
    """Tell whether a command may have found the alias where a known move put it, with no other move sure to lie between."""
    since = max((one.began for one in known if one.ended < look.began), default=-inf)
    return any(
        one.move.version == look.move.before
        and one is not look
        and one.began <= look.ended
        and one.ended >= since
        and not (one.seen_by and one.seen_by.ended < look.began)
        for one in known
    )


def _by_others(before: str | None, version: str | None) -> Move:
    return Move(None, OTHERS, before, version, "not recorded: made by other means, or before moves were")


def earlier(moves: list[Move]) -> list[str]:
    """Return the versions to go back to, the next one first.

    A move to a version puts it on top of those before it; a rollback takes those above its version away, so that a
    second one goes further back and not to and fro.
    """
    stack: list[str] = []
    for made in moves:
        if made.version is None:
            continue
        if made.by in BACK and made.version in stack:
            del stack[stack.index(made.version) :]
        elif made.version in stack:
            stack.remove(made.version)
        stack.append(made.version)
    current = moves[-1].version if moves else None
    return [version for version in reversed(stack) if version != current]


def stamp() -> str:
    """Return the time as a record has it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
