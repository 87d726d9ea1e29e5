"""A challenger in shadow, in one process: asked for what the log has of Production's answers, once, whatever ends who asks."""

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract.schema import Column, Kind
from inference.model.deployment import Deployment
from inference.model.observation import Observation
from inference.prediction_log import segment
from inference.prediction_log.label_log import LabelLog
from inference.prediction_log.recorder import PredictionLog
from inference.prediction_log.segment import LABELS
from inference.prediction_log.shipper import Shipper
from inference.prediction_log.spool import Spool, segments
from inference.prediction_log.store import Store
from inference.prediction_log.views import asked
from inference.rows import from_cells
from inference.shadow import state as states
from inference.shadow import work as works
from inference.shadow.asking import Pair
from inference.shadow.state import State
from inference.shadow.work import Work
from pyarrow import fs

from tests.unit.serving import VERSION, answering, described, served_as

pytestmark = [pytest.mark.unhurried, pytest.mark.usefixtures("one_engine")]

MIB = 1024 * 1024
# What whoever asks does to files.
STEPS = [(states, "write"), (segment, "write_whole"), (Path, "unlink")]
COLUMNS = [Column("a"), Column("b")]
KINDS = [
    Column("size"),
    Column("count", Kind.INTEGER, missing=True, datatype="INT64"),
    Column("new", Kind.BOOLEAN, datatype="BOOL"),
    Column("town", Kind.TEXT, missing=True, datatype="BYTES"),
    Column("day", Kind.DATE, missing=True, datatype="BYTES"),
]
OTHER = replace(VERSION, version="8", model_id="m-8", created_ms=1700000000001)


class Says:
    """Says of a row whether its first value is above a threshold, and may do something before."""

    def __init__(self, threshold: float, before: Callable[[Any], None] = lambda frame: None) -> None:
        self.threshold, self.before, self.asked = threshold, before, 0
        self.classes_ = np.array([0, 1])

    def predict(self, frame: Any) -> Any:
        self.before(frame)
        self.asked += len(frame)
        return (np.asarray(frame)[:, 0].astype(float) > self.threshold).astype(np.int64)

    def predict_proba(self, frame: Any) -> Any:
        ones = (np.asarray(frame)[:, 0].astype(float) > self.threshold).astype(float)
        return np.column_stack([1 - ones, ones])


class Place:
    """A spool that Production's answers go to, who asks the challenger for them, and what the shipper makes of it."""

    def __init__(self, folder: Path, columns: list[Column] = COLUMNS) -> None:
        self.spool, self.store = folder / "spool", Store(fs.LocalFileSystem(), str(folder / "store"), "the folder")
        self.columns, self.description = columns, described(columns)
        self.truth = Says(0.5)
        self.production = served_as(answering(self.truth, self.description))
        self.shipper = Shipper(self.spool, self.store)
        self.says = Says(0.7)
        self.state = State(states.identity_of(OTHER), "8", 0)

    def log(self, omit: str = "") -> PredictionLog:
        return PredictionLog(1.0, frozenset(filter(None, [omit])), Spool(self.spool, 64 * MIB, MIB))

    def seen(self, request_id: str, rows: list[list[Any]], of: Deployment | None = None) -> Observation:
        deployment = of or self.production
        cells = from_cells(rows, self.columns, lambda i, j: f"{i}, {j}")
        return Observation(request_id, deployment, cells, deployment.model.answer(cells), 0.002)

    def work(self, most: int = 64 * MIB) -> Work:
        """Return who asks, as after a start: what it knows is what is on disk."""
        self.state = states.read(states.folder_in(self.spool), OTHER) or self.state
        model = answering(self.says, self.description)
        pair = Pair(VERSION.name, model, "8", self.production.model, "7")
        return Work(works.Spool(self.spool, most), self.state, pair, lambda: None)

    def table(self, sql: str = "from shadow order by time, request_id, row") -> list[dict[str, Any]]:
        def fetched(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
            answer = connection.sql(sql)
            return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]

        return asked(self.store, VERSION.name, fetched)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_its_answers_lie_beside_productions_with_who_gave_them_and_how_long_they_took(place: Place) -> None:
    log = place.log()
    log(place.seen("r1", [[0.2, 0], [0.6, 0], [0.9, 0]]), place.seen("r2", [[0.3, 0]]))
    work = place.work()
    work.look()
    place.shipper.ship()
    rows = place.table()
    assert [(r["request_id"], r["row"], r["version"], r["production_version"], r["prediction"]) for r in rows] == [
        ("r1", 0, "8", "7", 0),
        ("r1", 1, "8", "7", 0),
        ("r1", 2, "8", "7", 1),
        ("r2", 0, "8", "7", 0),
    ]
    assert [r["probabilities"] for r in rows] == [[1, 0], [1, 0], [0, 1], [1, 0]]
    assert all(0 < r["milliseconds"] < 1000 for r in rows)
    # Production is asked again for one of ten.
    assert [r["production_milliseconds"] is None for r in rows] == [False, False, False, True]
    assert (place.state.figures.alike, place.state.figures.unlike, place.state.figures.skipped) == (3, 1, 0)
    assert place.table("select count(*) as rows from predictions join shadow using (request_id, row, time)") == [
        {"rows": 4}
    ]


def test_every_kind_of_column_comes_back_as_what_it_was(tmp_path: Path) -> None:
    place, frames = Place(tmp_path, KINDS), list[Any]()
    place.says = Says(0.7, frames.append)
    row = [0.9, 3, True, "Ulm", "2026-01-02T03:04:05"], [0.1, None, False, None, None]
    log = place.log()
    log(place.seen("few", list(row)), place.seen("many", [*row] * 50))
    production = list[Any]()
    place.truth.before = production.append
    place.production.model.answer(from_cells(list(row), KINDS, lambda i, j: ""))
    place.work().look()
    place.shipper.ship()
    assert place.state.figures.alike == 102, place.state.problem
    assert frames[0].equals(production[0])
    assert frames[0].dtypes.tolist() == production[0].dtypes.tolist()


def test_as_a_segment_grows_its_answers_grow_under_one_name(place: Place) -> None:
    log, work = place.log(), place.work()
    for number in range(5):
        log(place.seen(f"r{number}", [[0.9, 0]]))
        work.look()
        work.hand_on()
        place.shipper.ship()
    assert [row["request_id"] for row in place.table()] == [f"r{number}" for number in range(5)]
    assert len(list(Path(place.store.root).rglob("shadow/**/*.parquet"))) == 1


def test_more_answers_than_fit_one_file_are_in_several_and_none_is_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "FILE_BYTES", 500)
    place.shipper = Shipper(place.spool, place.store, 300)
    log, work = place.log(), place.work()
    for number in range(40):
        log(place.seen(f"r{number}", [[0.9, 0]]))
        if number % 10 == 0:
            work.look()
            work.hand_on()
            place.shipper.ship()
    work.look()
    work.hand_on()
    place.shipper.ship()
    assert [row["request_id"] for row in place.table()] == [f"r{number}" for number in range(40)]
    assert len(list(Path(place.store.root).rglob("shadow/**/*.parquet"))) > 4


def test_what_the_shipper_has_deleted_meanwhile_is_still_asked(place: Place) -> None:
    log, work = place.log(), place.work()
    log(place.seen("r1", [[0.9, 0]]))
    work._take_in()
    log(
        place.seen("other", [[0.9, 0]], served_as(answering(Says(0), place.description), replace(VERSION, version="9")))
    )
    place.shipper.ship()
    assert len(list(segments(place.spool))) == 1
    work.look()
    work.hand_on()
    place.shipper.ship()
    assert [(r["request_id"], r["production_version"]) for r in place.table()] == [("r1", "7"), ("other", "9")]
    del log
    assert not [path for path in states.folder_in(place.spool).iterdir() if "r1" in path.name]


def kill_at(step: int, *steps: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Yield each of several steps as one that ends whoever asks where it is the n-th of all that are taken."""
    count = iter(range(1000))

    def taken(do: Callable[..., None]) -> Callable[..., None]:
        def does(*arguments: Any, **options: Any) -> None:
            if next(count) == step:
                raise KeyboardInterrupt
            do(*arguments, **options)

        return does

    yield from map(taken, steps)


@pytest.mark.fuzz
@pytest.mark.parametrize("step", range(16))
def test_whatever_step_it_is_killed_at_each_row_is_answered_once(
    place: Place, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = place.log()
    for number in range(3):
        log(place.seen(f"r{number}", [[0.9, 0], [0.1, 0]]))
    with monkeypatch.context() as killed:
        killed.setattr(works, "MOST_ROWS", 2)
        for (thing, name), does in zip(STEPS, kill_at(step, *(getattr(*each) for each in STEPS)), strict=True):
            killed.setattr(thing, name, does)
        with suppress(KeyboardInterrupt):
            work = place.work()
            work.look()
            log(place.seen("later", [[0.9, 0]]))
            log._version.close()
            work.look()
            work.hand_on()
            pytest.fail("there are fewer steps")
    if step % 2:
        place.shipper.ship()
    for _ in range(3):  # it is started again
        work = place.work()
        work.look()
        work.hand_on()
        place.shipper.ship()
    rows = place.table("select request_id, row, count(*) as count from shadow group by all order by all")
    logged = place.table("select request_id, row, 1 as count from predictions order by all")
    assert rows == logged
    figures = place.state.figures
    assert (figures.alike, figures.failed, figures.skipped) == (len(logged), 0, 0)
    log._version.close()
    place.work().look()
    assert [path.name for path in states.folder_in(place.spool).iterdir()] == [states.NOTE]


def ended(place: Place) -> None:
    """Note, as the keeper does, that the process has ended over what it was asked for."""
    state = states.read(states.folder_in(place.spool), OTHER)
    assert state is not None
    assert state.tried is not None
    state.tried.is_fatal = True
    states.write(states.folder_in(place.spool), state)


@pytest.mark.parametrize("is_fatal", [True, False])
def test_a_request_that_ends_the_process_twice_is_one_that_it_fails_on_and_the_others_are_asked(
    place: Place, is_fatal: bool
) -> None:
    def poison(frame: Any) -> None:
        if np.asarray(frame)[0, 0] == 0.66:
            raise KeyboardInterrupt  # as a process ends: nothing is said, and nothing noted

    log, place.says = place.log(), Says(0.7, poison)
    for number in range(10):
        log(place.seen(f"r{number}", [[0.66 if number == 4 else 0.9, 0]]))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            place.work().look()
        if is_fatal:
            ended(place)
    if not is_fatal:  # the service was killed, and it with it: that is no fault of the request's
        place.says.before = lambda frame: None
    work = place.work()
    work.look()
    work.hand_on()
    place.shipper.ship()
    expected = [(f"r{n}", 1 if n != 4 else None if is_fatal else 0) for n in range(10)]
    assert [(row["request_id"], row["prediction"]) for row in place.table()] == expected
    figures = place.state.figures
    assert (figures.failed, figures.alike + figures.unlike) == ((1, 9) if is_fatal else (0, 10))


def test_what_it_fails_on_is_counted_and_kept_as_no_prediction_and_it_is_asked_on(place: Place) -> None:
    def fails(frame: Any) -> None:
        if np.asarray(frame)[0, 0] == 0.66:
            raise ValueError("no such flower")

    log, place.says = place.log(), Says(0.7, fails)
    log(place.seen("r1", [[0.66, 0], [0.9, 0]]))
    work = place.work()
    work.look()
    assert (place.state.figures.failed, place.state.problem) == (
        2,
        "it fails on what version 7 answered (InvalidInput)",
    )
    work.hand_on()
    place.shipper.ship()
    kept = "select row, prediction, version, production_version from compared order by all"
    assert [tuple(row.values()) for row in place.table(kept)] == [
        (0, 1, "7", None),
        (0, None, "8", "7"),
        (1, 1, "7", None),
        (1, None, "8", "7"),
    ]
    again = place.log()
    again(place.seen("r2", [[0.9, 0]]), place.seen("r3", [[0.66, 0]]))
    work.look()
    work.hand_on()
    place.shipper.ship()
    # The first file has no prediction at all, the second has some.
    assert [
        (r["request_id"], r["prediction"], r["milliseconds"] is None, r["probabilities"]) for r in place.table()
    ] == [
        ("r1", None, True, None),
        ("r1", None, True, None),
        ("r2", 1, False, [0, 1]),
        ("r3", None, True, None),
    ]
    assert (place.state.figures.alike, place.state.figures.failed) == (1, 3)
    files = Path(place.store.root).rglob("shadow/**/*.parquet")
    assert [pq.read_schema(path).field("prediction").type for path in files] == [pa.int64(), pa.int64()]


def test_while_no_store_is_there_the_spool_has_each_answer_twice_at_most(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "HAND_ON_SECONDS", 0)
    monkeypatch.setattr(works, "FILE_BYTES", 2000)
    log, work = place.log(), place.work()
    for number in range(100):
        log(place.seen(f"r{number}", [[0.9, 0]]))
        work.look()
    pages = Counter(path.name.partition(".")[0] for path in place.spool.glob("*-v8.*"))
    assert len(pages) > 2
    assert max(pages.values()) == 2
    work.hand_on()
    place.shipper.ship()
    assert len(place.table()) == 100


def test_one_that_challenges_again_is_asked_on_where_it_was(place: Place) -> None:
    log = place.log()
    log(place.seen("r1", [[0.9, 0]]))
    work = place.work()
    work.look()
    work.hand_on()
    states.clear(states.folder_in(place.spool))
    log(place.seen("r2", [[0.9, 0]]))
    work = place.work()
    for name in ("r3", "r4"):
        log(place.seen(name, [[0.9, 0]]))
        work.look()
        work.hand_on()
        place.shipper.ship()
    assert [row["request_id"] for row in place.table()] == ["r1", "r2", "r3", "r4"]
    assert place.state.figures.alike == 4


def test_what_a_full_disk_has_taken_half_of_is_asked_for_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    log, work = place.log(), place.work()
    log(place.seen("r1", [[0.9, 0]] * 5))
    work.look()
    log(place.seen("r2", [[0.9, 0]] * 5))
    with monkeypatch.context() as full:

        def half(path: Path, answers: bytes) -> None:
            with work._answers(path).open("ab") as file:
                file.write(answers[: len(answers) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(work, "_keep", half)
        with pytest.raises(OSError, match="No space"):
            work.look()
    assert place.state.figures.alike == 5
    log(place.seen("r3", [[0.9, 0]] * 5))
    work.look()
    work.hand_on()
    place.shipper.ship()
    assert [(r["request_id"], r["row"]) for r in place.table()] == [
        (f"r{n}", row) for n in (1, 2, 3) for row in range(5)
    ]
    assert (place.state.figures.alike, place.state.figures.unlike) == (15, 0)


def test_where_what_it_needs_is_omitted_it_is_not_asked_and_says_so(place: Place) -> None:
    place.log("b")(place.seen("r1", [[0.9, 0]]))
    place.work().look()
    assert place.state.problem == "it needs 'b', which is not in the prediction log (PREDICTION_LOG_OMIT)"
    assert (place.says.asked, place.state.figures.skipped) == (0, 1)


def test_where_params_of_requests_change_an_answer_it_is_not_asked_and_says_so(place: Place) -> None:
    place.description = replace(place.description, params=("temperature",))
    place.log()(place.seen("r1", [[0.9, 0]]))
    place.work().look()
    assert place.state.problem == "params of requests, which change answers, are not in the prediction log"
    assert (place.says.asked, place.state.figures.skipped) == (0, 1)


def test_nothing_that_was_answered_before_it_came_is_asked_nor_what_it_answered_itself(place: Place) -> None:
    log = place.log()
    log(place.seen("before", [[0.9, 0]]))
    place.state = State(states.identity_of(OTHER), "8", time.time_ns())
    log(place.seen("r1", [[0.9, 0]]))
    log(place.seen("own", [[0.9, 0]], served_as(answering(Says(0.7), place.description), OTHER)))
    labels = LabelLog(Spool(place.spool, 64 * MIB, MIB, LABELS))
    labels.append(VERSION.name, ["r1"], [0], [1], True)
    place.work().look()
    place.shipper.ship()
    assert [row["request_id"] for row in place.table()] == ["r1"]
    assert place.state.figures.skipped == 0


def test_one_that_is_slower_than_what_is_logged_leaves_out_the_oldest_and_counts_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "MOST_BYTES", 500)
    last = place.log()
    last(place.seen("r4", [[0.9, 0]]))
    for number in range(4):
        log = place.log()
        log(place.seen(f"r{number}", [[0.9, 0]]))
        log._version.close()
    work = place.work()
    work.look()
    work.hand_on()
    place.shipper.ship()
    figures = place.state.figures
    assert (figures.skipped, figures.alike) == (2, 3)
    assert [row["request_id"] for row in place.table()] == ["r4", "r2", "r3"]
    assert len(list(states.folder_in(place.spool).glob("*.segment"))) == 1


def test_however_many_workers_end_nothing_that_is_little_is_left_out(place: Place) -> None:
    for number in range(12):
        log = place.log()
        log(place.seen(f"r{number}", [[0.9, 0]]))
        log._version.close()
    place.work().look()
    assert (place.state.figures.skipped, place.state.figures.alike) == (0, 12)


def test_what_it_takes_at_a_look_has_an_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "BUSY_SECONDS", 0.02)
    log, place.says = place.log(), Says(0.7, lambda frame: time.sleep(0.01))
    for number in range(20):
        log(place.seen(f"r{number}", [[0.9, 0]]))
    work = place.work()
    assert work.look()
    assert 1 <= place.says.asked < 10
    while work.look():
        pass
    assert place.says.asked == 20


def test_where_the_spool_is_full_its_answers_wait(place: Place) -> None:
    log = place.log()
    log(place.seen("r1", [[0.9, 0]]))
    full = place.work(most=1)
    full.look()
    assert place.state.problem == "the spool is full: what it answers waits"
    work = place.work()
    work.hand_on()
    place.shipper.ship()
    assert len(place.table()) == 1


def test_both_answers_are_compared_with_the_labels_that_came_and_an_id_used_twice_is_left_out(place: Place) -> None:
    log = place.log()
    log(place.seen("r2", [[0.9, 0]]), place.seen("r3", [[0.6, 0]]))
    log(place.seen("r1", [[0.6, 0]]))
    log(place.seen("r1", [[0.1, 0]]))
    labels = LabelLog(Spool(place.spool, 64 * MIB, MIB, LABELS))
    labels.append(VERSION.name, ["r1", "r2"], [0, 0], [0, 0], True)
    place.work().look()
    place.shipper.ship()
    rows = place.table("from compared order by request_id, version")
    assert [(r["request_id"], r["version"], r["prediction"], r["label"], r["trusted"]) for r in rows] == [
        ("r2", "7", 1, 0, True),
        ("r2", "8", 1, 0, True),
        ("r3", "7", 1, None, False),
        ("r3", "8", 0, None, False),
    ]
    assert rows[0]["model_milliseconds"] > 0


def test_a_client_stands_beside_both_answers_and_who_had_a_key_that_nobody_hashed_is_left_out(place: Place) -> None:
    one = place.seen("r1", [[0.6, 0]])
    place.log()(
        one._replace(client=b"12345678"), one._replace(request_id="r2", client=b""), one._replace(request_id="r3")
    )
    place.work().look()
    place.shipper.ship()
    rows = place.table("select request_id, version, client from compared order by all")
    assert [tuple(row.values()) for row in rows] == [
        ("r1", "7", b"12345678".hex()),
        ("r1", "8", b"12345678".hex()),
        ("r3", "7", None),
        ("r3", "8", None),
    ]


def test_what_a_release_has_kept_that_knew_no_clients_is_still_asked(place: Place) -> None:
    place.log()(place.seen("r1", [[0.6, 0]]))
    place.shipper.ship()
    (file,) = Path(place.store.root).rglob("*.parquet")
    pq.write_table(pq.ParquetFile(file).read().drop_columns("client"), file)
    assert [row["client"] for row in place.table("from compared")] == [None]


def test_of_two_requests_with_one_id_that_are_answered_together_there_is_a_first(place: Place) -> None:
    place.log()(place.seen("r1", [[0.6, 0]]), place.seen("r1", [[0.1, 0]]))
    place.work().look()
    place.shipper.ship()
    assert place.table("select count(distinct time) as times from predictions") == [{"times": 2}]


def test_without_a_challenger_the_views_are_there_and_empty(place: Place) -> None:
    place.log()(place.seen("r1", [[0.9, 0]]))
    place.shipper.ship()
    assert place.table() == []
    assert [(r["version"], r["label"]) for r in place.table("from compared")] == [("7", None)]


def test_of_another_challenger_nothing_is_known_and_what_waited_goes(place: Place) -> None:
    place.log()(place.seen("r1", [[0.9, 0]]))
    place.work().look()
    folder = states.folder_in(place.spool)
    assert states.read(folder, OTHER) is not None
    assert states.read(folder, replace(OTHER, model_id="m-9")) is None
    states.clear(folder)
    assert [path.name for path in folder.iterdir()] == [states.NOTE]
