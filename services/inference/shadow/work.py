"""What is in the spool, asked of a challenger: some of it at each look, each prediction once, and what it answers handed on to the shipper.

What is handed on is a segment of the spool as well, and has all that it answered from one place of a segment of predictions on. Its name
follows from that place: so one that has grown, or is handed on again as nobody knows whether it was, takes the place of the one before it.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from inference.errors import SegmentUnusable
from inference.prediction_log import segment, spool
from inference.prediction_log.record import Version, packed_shadow, rows_of, time_ns_of, unpacked
from inference.prediction_log.segment import SUFFIX, Piece
from inference.shadow import state as states
from inference.shadow.asking import Pair
from inference.shadow.state import ANSWERS, Place, State, Tried
from inference.telemetry.metrics import SHADOW_ROWS

# Of one look: what it takes of a core, and how much is asked before that is noted.
BUSY_SECONDS, PIECE_BYTES, MOST_ROWS = 0.5, 256 * 1024, 2000
# How often answers are handed on, and of one file, about.
HAND_ON_SECONDS, FILE_BYTES = 5.0, 1024 * 1024
# Predictions that wait in segments that nobody writes any more; beyond that the oldest are left out: a challenger that is too slow never
# catches up.
MOST_BYTES = 128 * 1024 * 1024
HOUR_NS = 3600 * 10**9

log = logging.getLogger("inference")


class Spool(NamedTuple):
    """The spool, and how much may be in it."""

    folder: Path
    most_bytes: int


class Work:
    """Asks one challenger. `sign` is called whenever a request is answered, or refused."""

    def __init__(self, where: Spool, state: State, pair: Pair, sign: Callable[[], None]) -> None:
        self._spool, self._state, self._pair, self._sign = where, state, pair, sign
        self._folder = states.folder_in(where.folder)
        self._hand_on_due, self._has_told = 0.0, False
        self._fatal: tuple[str, int] | None = None
        """the request that has ended the process twice: its segment, and where it ends"""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._recover()

    def look(self) -> bool:
        """Ask for what is new; return whether there is more."""
        self._take_in()
        until = time.monotonic() + BUSY_SECONDS
        has_more = False
        for path in self._held():
            while more := self._ask(path, until):
                if time.monotonic() >= until:
                    break
            has_more |= more
        if time.monotonic() >= self._hand_on_due:
            self._hand_on_due = time.monotonic() + HAND_ON_SECONDS
            for path in self._held():
                if not self._is_waiting(path):
                    self._hand_on(path)
        return has_more

    def hand_on(self) -> None:
        """Let the shipper have all that was answered; raise OSError."""
        for path in self._held():
            self._hand_on(path)

    # --- what waits ----------------------------------------------------------------------------------------------------

    def _held(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: (path.stat().st_mtime_ns, path.name))

    def _take_in(self) -> None:
        """Take in the segments that are new, forget those that are gone, and leave out what is too much."""
        there = {path.name for path in spool.segments(self._spool.folder)}
        places = self._state.places
        states.take_in(self._spool.folder, places)
        for path in self._held():
            if self._place(
                path
            ).is_done:  # who asked has ended before it let go of it, or the keeper has linked it once more
                self._let_go(path)
        # What is held is known as long, whether it was shipped or not: it would be asked from its beginning again.
        for name in [name for name in places if name not in there and not (self._folder / name).exists()]:
            del places[name]
            self._state.careful.pop(name, None)
        waiting = 0
        for path in reversed(self._held()):
            size = _bytes_left(path, self._place(path).end)
            waiting += size
            if size and waiting > MOST_BYTES:
                self._leave_out(path)

    def _leave_out(self, path: Path) -> None:
        place, before = self._place(path), self._state.figures.skipped
        try:
            with _opened(path) as descriptor:
                while (piece := segment.unshipped(descriptor, PIECE_BYTES, place.end)).records:
                    self._count("skipped", self._rows_since_begun(piece))
                    place.end = piece.end
        except SegmentUnusable as error:
            self._give_up(path, error)
            return
        self._note()
        self._finish(path)
        if rows := self._state.figures.skipped - before:
            words = "the challenger, version %s, is slower than what is logged: %d rows are left out"
            log.warning(words, self._pair.version, rows)

    def _rows_since_begun(self, piece: Piece) -> int:
        return sum(rows_of(record) for record in piece.records if time_ns_of(record) >= self._state.begun_ns)

    def _recover(self) -> None:
        """Go on where the one before ended: what it was in the middle of is asked again, a request at a time, and one that ends it twice not."""
        tried, careful = self._state.tried, self._state.careful
        if tried is not None and tried.is_fatal and tried.segment in self._state.places:
            if careful.get(tried.segment, 0) >= tried.end:
                self._fatal = (tried.segment, tried.end)
            else:
                careful[tried.segment] = tried.end
        self._state.tried = None
        # The one before may have handed on something that it did not live to note: no other content gets the same name.
        self._state.count += 1
        self._note()

    # --- asking --------------------------------------------------------------------------------------------------------

    def _ask(self, path: Path, until: float) -> bool:
        """Ask for some of what is new in a segment; return whether there is more. `until` is of the monotonic clock."""
        try:
            with _opened(path) as descriptor:
                is_left = segment.is_left(descriptor)  # asked first: then nothing comes any more
                piece = segment.unshipped(descriptor, PIECE_BYTES, self._place(path).end)
            version = msgspec.json.decode(piece.version, type=Version)
        except (SegmentUnusable, msgspec.MsgspecError) as error:
            self._give_up(path, error)
            return False
        if piece.records:
            return self._ask_for(path, version, self._fewer(path, piece), until)
        if is_left:
            self._finish(path)
        return False

    def _fewer(self, path: Path, piece: Piece) -> Piece:
        """Return so much of a piece as is asked before it is noted."""
        rows = count = 0
        most = 1 if piece.start < self._state.careful.get(path.name, 0) else MOST_ROWS
        for record in piece.records:
            rows += rows_of(record)
            count += 1
            if rows >= most:
                break
        records = piece.records[:count]
        return piece._replace(end=piece.start + sum(map(len, records)), records=records)

    def _ask_for(self, path: Path, version: Version, piece: Piece, until: float) -> bool:
        """Ask for a piece, or as much of it as there is time for; return False where there is no room for answers."""
        place, is_own = self._place(path), version.version == self._pair.version
        if is_own or (problem := self._pair.problem(version)):
            if not is_own:
                self._say(problem)
                self._count("skipped", self._rows_since_begun(piece))
            place.end = piece.end
            self._note()
            return True
        records = [record for record in piece.records if time_ns_of(record) >= self._state.begun_ns]
        if records and not self._turn_the_page(path, time_ns_of(records[0]) // HOUR_NS):
            return False
        is_fatal = self._fatal == (path.name, piece.end)
        self._state.tried = Tried(path.name, piece.end)
        self._note()
        answers, end, counts = [], piece.start, Counter[str]()
        for record in piece.records:
            if time_ns_of(record) >= self._state.begun_ns:
                answers.append(self._answer(version, record, is_fatal, counts))
            end += len(record)
            if time.monotonic() >= until:
                break
        self._keep(path, b"".join(answers))
        place.end = end
        for result, rows in counts.items():
            self._count(result, rows)
        self._state.tried = None
        self._note()
        return True

    def _answer(self, version: Version, packed: bytes, is_fatal: bool, counts: Counter[str]) -> bytes:
        """Return what the challenger answers to a prediction, packed, and count its rows; nothing where what was kept cannot be read.

        Where it fails, which is what one that is fatal is taken for, that is its answer: no prediction.
        """
        rows = rows_of(packed)
        try:
            record = unpacked(packed)
        except Exception:  # as after a power cut: the shipper says so, and it is no fault of the challenger's
            counts["skipped"] += rows
            return b""
        if is_fatal:
            log.error("a request of %d rows has ended the challenger's process: it is not asked for it again", rows)
            counts["failed"] += rows
            return packed_shadow(record, 0, None, None)
        try:
            answer, unlike = self._pair.answer(version, record)
        except Exception as error:  # whatever it is, it is the challenger's, and the next request may be answered
            counts["failed"] += rows
            self._state.problem = f"it fails on what version {version.version} answered ({type(error).__name__})"
            if not self._has_told:
                log.warning("the challenger, version %s: %s", self._pair.version, self._state.problem)
                self._has_told = True
            return packed_shadow(record, 0, None, None)
        finally:
            self._sign()
        counts.update(alike=rows - unlike, unlike=unlike)
        self._say("")
        return answer

    # --- what it answered ----------------------------------------------------------------------------------------------

    def _keep(self, path: Path, answers: bytes) -> None:
        place = self._place(path)
        with open(os.open(self._answers(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            # What is beyond was not noted, whatever has ended the write, a full disk or a kill: it is asked for again.
            file.truncate(place.answers)
            file.write(answers)
        place.answers += len(answers)

    def _turn_the_page(self, path: Path, hour: int) -> bool:
        """Begin another file where the last one is large enough, or of another hour; return False where the spool is full."""
        place = self._place(path)
        if place.answers and (place.answers >= FILE_BYTES or place.hour != hour):
            if not self._hand_on(path):
                return False
            place.start, place.answers, place.handed_on = place.end, 0, 0
            self._note()
        place.hour = hour
        return True

    def _hand_on(self, path: Path) -> bool:
        """Let the shipper have what was answered to a segment; return False where the spool is full."""
        place = self._place(path)
        if place.handed_on == place.answers:
            return True
        if spool.used_of(self._spool.folder) + place.answers > self._spool.most_bytes:
            self._say("the spool is full: what it answers waits")
            return False
        with _opened(path) as descriptor:
            version = msgspec.json.decode(segment.unshipped(descriptor, 0, 0).version, type=Version)
        name = f"{self._page(path)}{self._state.count:09}{SUFFIX}"
        content = self._answers(path).read_bytes()[: place.answers]
        between = msgspec.json.encode(self._pair.between(version))
        segment.write_whole(self._spool.folder / name, between, segment.SHADOW, content)
        place.handed_on = place.answers
        self._state.count += 1
        self._note()
        return True

    def _page(self, path: Path) -> str:
        """Return what the names of all files begin with that have the answers from where the segment's last file of the store begins."""
        return f"{path.stem}-{self._place(path).start:08}-v{self._pair.version}."

    def _is_waiting(self, path: Path) -> bool:
        """Tell whether the shipper still has some of a page: while there is no store, the spool would get one copy after the other."""
        return any(self._spool.folder.glob(f"{self._page(path)}*{SUFFIX}"))

    def _finish(self, path: Path) -> None:
        """Let go of a segment that was asked for to its end, once all answers are on their way."""
        if self._hand_on(path):
            self._done(path)

    def _give_up(self, path: Path, error: Exception) -> None:
        log.error("what is in %s cannot be asked for: %s", path.name, type(error).__name__)
        self._done(path)

    def _done(self, path: Path) -> None:
        self._place(path).is_done = True
        self._note()
        self._let_go(path)

    def _let_go(self, path: Path) -> None:
        """Remove a segment that is done, last what says that there is something to remove."""
        self._answers(path).unlink(missing_ok=True)
        path.unlink()

    def _place(self, path: Path) -> Place:
        return self._state.places.setdefault(path.name, Place())

    def _answers(self, path: Path) -> Path:
        return path.with_suffix(ANSWERS)

    def _count(self, result: str, rows: int) -> None:
        figures = self._state.figures
        setattr(figures, result, getattr(figures, result) + rows)
        if rows:
            SHADOW_ROWS.labels(self._pair.model, self._pair.version, result).inc(rows)

    def _say(self, problem: str) -> None:
        if problem != self._state.problem and problem:
            log.warning(
                "the challenger, version %s, is not asked for all that is logged: %s", self._pair.version, problem
            )
        self._state.problem = problem

    def _note(self) -> None:
        states.write(self._folder, self._state)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _bytes_left(path: Path, after: int) -> int:
    """Return how much is in a segment after a place, 0 where somebody writes it."""
    with _opened(path) as descriptor:
        return max(0, segment.filled_to(descriptor) - after) if segment.is_left(descriptor) else 0
