"""The prediction log, from what a worker packs to what a shipper brings away, in one process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contract import settings as in_force
from contract.schema import Column, Kind
from inference.errors import SegmentUnusable, SettingsError, StoreUnusable
from inference.model.deployment import Deployment
from inference.model.observation import Observation
from inference.prediction_log import command, segment, shipper, spool
from inference.prediction_log.record import packed
from inference.prediction_log.recorder import REASONS, PredictionLog, is_chosen
from inference.prediction_log.segment import FORMER_PREDICTIONS, HEAD, PREDICTIONS, Segment
from inference.prediction_log.shipper import Shipper
from inference.prediction_log.spool import Spool
from inference.prediction_log.store import Store
from inference.rows import from_cells
from inference.settings import Settings
from inference.telemetry.metrics import NOT_KEPT
from pyarrow import fs
from werkzeug.test import Client

from tests.unit.serving import MODEL, SERVED, VERSION, answering, client_of, described, served_as, service_of

pytestmark = pytest.mark.usefixtures("one_engine")

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
# Of a segment's layout in its head, after up to where it is filled and shipped.
LAYOUT_AT = 16
KINDS = [
    Column("size"),
    Column("count", Kind.INTEGER, missing=True, limit=2**63 - 1, datatype="INT64"),
    Column("new", Kind.BOOLEAN, datatype="BOOL"),
    Column("town", Kind.TEXT, missing=True, datatype="BYTES"),
    Column("day", Kind.DATE, missing=True, datatype="BYTES"),
]


class Says:
    """Says of each row what it was told to say."""

    def __init__(self, labels: list[Any]) -> None:
        self._labels = labels

    def predict(self, frame: Any) -> Any:
        return np.array(self._labels[: len(frame)])


class Kept:
    """A spool, the log that fills it, and the folder that it is shipped to."""

    def __init__(self, folder: Path) -> None:
        self.spool, self.store = folder / "spool", folder / "store"
        self.shipper = Shipper(self.spool, Store(fs.LocalFileSystem(), str(self.store), "the folder"))

    def log(self, share: float = 1.0, omit: str = "", most: int = 4 * MIB, segment: int = MIB) -> PredictionLog:
        return PredictionLog(share, frozenset(filter(None, omit.split(","))), Spool(self.spool, most, segment))

    def files(self) -> list[Path]:
        return sorted(self.store.rglob("*.parquet"))

    def table(self) -> pa.Table:
        return pa.concat_tables([pq.read_table(file) for file in self.files()], promote_options="permissive")

    def ids(self) -> list[str]:
        return sorted(self.table()["request_id"].to_pylist()) if self.files() else []


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def seen(request_id: str = "r", rows: list[list[Any]] | None = None, of: Deployment = SERVED) -> Observation:
    columns = of.model.description.columns
    cells = from_cells(rows or [[1.0, 2.0]], columns, lambda i, j: f"{i}, {j}")
    return Observation(request_id, of, cells, of.model.answer(cells), 0.002)


def test_a_prediction_is_there_row_by_row_with_who_gave_it_and_when(kept: Kept) -> None:
    before = time.time()
    client = Client(service_of(SERVED, observers=(kept.log(),)))
    answer = client.post("/invocations", json={"instances": [[1, 2], [2, 1]]}, headers={"X-Request-ID": "mine"})
    assert answer.json == {"predictions": [0, 1]}
    assert kept.shipper.ship() == 1
    first, second = kept.table().to_pylist()
    assert {**first, "time": None, "milliseconds": None} == {
        "request_id": "mine",
        "row": 0,
        "time": None,
        "version": "7",
        "milliseconds": None,
        "prediction": 0,
        "probabilities": None,
        "client": None,
        "input_length": 1.0,
        "input_width": 2.0,
    }
    assert (second["row"], second["prediction"], second["input_length"]) == (1, 1, 2.0)
    assert before <= first["time"].timestamp() <= time.time()
    assert 0 < first["milliseconds"] < 30_000


def test_each_way_to_ask_is_kept_with_the_label_that_it_was_answered(kept: Kept) -> None:
    client = Client(service_of(SERVED, observers=(kept.log(),)))
    tensor = {"name": "rows", "shape": [1, 2], "datatype": "FP64", "data": [2, 1]}
    outputs = [{"name": "predict"}, {"name": "predict_proba"}]
    for path, body in {
        "/invocations": {"instances": [[2, 1]]},
        "/predict_names": {"instances": [[2, 1]]},
        "/explain": {"instances": [[2, 1]]},
        "/v2/models/iris_logistic_regression/infer": {"inputs": [tensor], "outputs": outputs},
    }.items():
        assert client.post(path, json=body, headers={"X-Request-ID": path}).status_code == 200
    kept.shipper.ship()
    rows = {row["request_id"]: row for row in kept.table().to_pylist()}
    assert {row["prediction"] for row in rows.values()} == {1}
    assert {path for path, row in rows.items() if row["probabilities"] == [0.1, 0.9]} == {
        "/predict_names", "/v2/models/iris_logistic_regression/infer",
    }  # fmt: skip
    assert len(rows) == 4


def test_what_is_refused_is_not_kept(kept: Kept) -> None:
    client = Client(service_of(SERVED, observers=(kept.log(),)))
    assert client.post("/invocations", json={"instances": [[1, "x"]]}).status_code == 400
    assert client.get("/version").status_code == 200
    assert kept.shipper.ship() == 0
    assert not kept.files()


def test_a_client_costs_nine_bytes_of_its_record_and_without_one_none(kept: Kept) -> None:
    plain = seen("mine")
    (alone, _), (known, _), (unheard, _) = (
        packed(plain._replace(client=client), None, 0) for client in (None, b"\0" * 8, b"")
    )
    assert (known - alone, unheard - alone) == (9, 1)
    log = kept.log()
    log(plain, plain._replace(request_id="yours", client=b"\0" * 8), plain._replace(request_id="theirs", client=b""))
    kept.shipper.ship()
    rows = kept.table().to_pylist()
    assert [(row["request_id"], row["client"]) for row in rows] == [("mine", None), ("yours", "0" * 16), ("theirs", "")]


def test_predictions_of_the_release_before_clients_are_shipped_beside_those_of_now(kept: Kept) -> None:
    log = kept.log()
    log(seen("then"))
    (former,) = spool.segments(kept.spool)
    assert HEAD.unpack_from(former.read_bytes())[2] == PREDICTIONS
    with open(former, "r+b") as file:
        file.seek(LAYOUT_AT)
        file.write(FORMER_PREDICTIONS.to_bytes(4, "little"))
    log(seen("now", of=served_as(MODEL))._replace(client=b"\0" * 8))
    assert kept.shipper.ship() == 2
    assert {row["request_id"]: row["client"] for row in kept.table().to_pylist()} == {"then": None, "now": "0" * 16}


def test_what_a_newer_release_has_written_stays_for_its_shipper(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    log = kept.log()
    log(seen("newer")._replace(client=b"\0" * 8))
    log(seen("whole", of=served_as(MODEL)))  # nobody writes the first any more
    newer, _ = sorted(spool.segments(kept.spool), key=lambda path: b"newer" not in path.read_bytes())
    monkeypatch.setattr(segment, "LAYOUTS", (1, 2, 3))
    for _ in range(2):
        with pytest.raises(
            SegmentUnusable, match=r"its layout is 4, and this release reads 1 to 3: the newer one ships it"
        ):
            kept.shipper.ship()
    assert newer.exists()
    monkeypatch.undo()
    assert kept.shipper.ship() == 2
    assert kept.ids() == ["newer", "whole"]


def test_every_kind_of_column_comes_back_as_what_it_is(kept: Kept) -> None:
    of = served_as(answering(Says(["yes", "no", "yes"]), described(KINDS)))
    rows: list[list[Any]] = [
        [1.5, 2**60, True, "Ulm", "2026-01-02"],
        [2, None, False, None, None],
        [3, 4.0, True, "", "2026-01-02T03:04:05"],
    ]
    log = kept.log()
    log(seen("some", rows, of))
    log(seen("one", rows[:1], of))
    kept.shipper.ship()
    found = kept.table()
    assert [str(found.schema.field(f"input_{column.name}").type) for column in KINDS] == [
        "double", "int64", "bool", "string", "timestamp[us]",
    ]  # fmt: skip
    assert found["input_count"].to_pylist() == [2**60, None, 4, 2**60]
    assert found["input_new"].to_pylist() == [True, False, True, True]
    assert found["input_town"].to_pylist() == ["Ulm", None, "", "Ulm"]
    assert [day and day.isoformat() for day in found["input_day"].to_pylist()] == [
        "2026-01-02T00:00:00", None, "2026-01-02T03:04:05", "2026-01-02T00:00:00",
    ]  # fmt: skip
    assert found["prediction"].to_pylist() == ["yes", "no", "yes", "yes"]


def test_many_rows_of_every_kind_come_back_as_few_of_them_do(kept: Kept) -> None:
    rows: list[list[Any]] = [[1.5, 2**60, True, "Ulm", "2026-01-02"], [2, None, False, None, None]]
    many = 100
    of = served_as(answering(Says(["yes", "no"] * many), described(KINDS)))
    log = kept.log(omit="new")
    log(seen("few", rows, of), seen("many", rows * many, of))
    kept.shipper.ship()
    found = kept.table().drop_columns(["time", "milliseconds", "row"]).to_pylist()
    few, of_many = (
        [{**row, "request_id": ""} for row in found if row["request_id"] == name] for name in ("few", "many")
    )
    assert of_many == few * many
    assert few[0]["input_count"] == 2**60


def test_numbers_keep_their_kinds_where_all_fit_one_matrix_and_a_missing_one_is_null(kept: Kept) -> None:
    columns = [
        Column("size", missing=True),
        Column("count", Kind.INTEGER, missing=True, datatype="INT64"),
        Column("new", Kind.BOOLEAN),
    ]
    of = served_as(answering(Says([0.5, float("nan")]), described(columns)))
    kept.log()(seen("numbers", [[None, 3, True], [1.5, None, False]], of))
    kept.shipper.ship()
    found = kept.table().to_pydict()
    assert (found["input_size"], found["input_count"], found["input_new"]) == ([None, 1.5], [3, None], [True, False])
    assert found["prediction"][0] == 0.5


def test_a_column_that_is_omitted_is_written_nowhere(kept: Kept) -> None:
    of = served_as(answering(Says([1]), described(KINDS)))
    log = kept.log(omit="town,count")
    log(seen("some", [[1.5, 3, True, "Llanfair", None]], of))
    assert all(b"Llanfair" not in path.read_bytes() for path in kept.spool.iterdir())
    kept.shipper.ship()
    names = kept.table().column_names
    assert [name for name in names if name.startswith("input_")] == ["input_size", "input_new", "input_day"]


def test_all_columns_may_be_omitted(kept: Kept) -> None:
    kept.log(omit="length,width")(seen("none", [[1, 2], [3, 4]]))
    kept.shipper.ship()
    assert [name for name in kept.table().column_names if name.startswith("input_")] == []
    assert kept.table().num_rows == 2


def test_where_a_name_to_omit_is_none_of_the_models_nothing_is_kept_and_it_says_so(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    log = kept.log(omit="width,lenght")
    problem = "PREDICTION_LOG_OMIT has 'lenght', which the model lacks"
    assert log.told(SERVED) == {"share": 1.0, "omit": ["lenght", "width"], "problem": problem}
    log(seen())
    log(seen())
    assert not kept.spool.exists()
    assert [record.message for record in caplog.records] == [f"the prediction log keeps nothing: {problem}"]
    # A version that has it is kept.
    other = served_as(answering(Says([1]), described([Column("lenght"), Column("width")])))
    log(seen("r2", of=other))
    kept.shipper.ship()
    assert kept.ids() == ["r2"]
    assert log.told(other)["problem"] is None


def test_a_share_is_the_same_requests_everywhere_and_a_larger_one_has_them_still() -> None:
    ids = [f"worker-{number}" for number in range(4000)]
    some = {name for name in ids if is_chosen(name, 0.1)}
    more = {name for name in ids if is_chosen(name, 0.3)}
    assert some < more
    assert 300 < len(some) < 500
    assert not any(is_chosen(name, 0.0) for name in ids)


def test_of_a_share_the_others_are_not_kept(kept: Kept) -> None:
    log = kept.log(share=0.5)
    ids = [f"r{number}" for number in range(40)]
    for name in ids:
        log(seen(name))
    kept.shipper.ship()
    assert kept.ids() == sorted(name for name in ids if is_chosen(name, 0.5))
    assert 0 < len(kept.ids()) < 40


def test_a_full_spool_takes_no_more_until_it_is_shipped_and_predictions_go_on(
    kept: Kept, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.prediction_log.recorder.PAUSE_SECONDS", 0.0)
    caplog.set_level("INFO", "inference")
    log = kept.log(most=2 * MIB, segment=MIB)
    client = Client(service_of(SERVED, observers=(log,)))
    body = {"instances": [[1, 2]] * 16_000}  # two of which fill a segment
    for _ in range(12):
        assert client.post("/invocations", json=body).status_code == 200
    assert "MB in it, of 2" in log.told(SERVED)["problem"]
    assert kept.shipper.ship() == 4
    assert client.post("/invocations", json=body, headers={"X-Request-ID": "after"}).status_code == 200
    assert log.told(SERVED)["problem"] is None
    kept.shipper.ship()
    assert "after" in kept.ids()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_prediction_that_is_larger_than_a_segment_has_one_of_its_own(kept: Kept) -> None:
    log = kept.log(most=8 * MIB, segment=MIB)
    log(seen("small"))
    log(seen("large", [[1, 2]] * 100_000))
    log(seen("small again"))
    kept.shipper.ship()
    assert sorted(set(kept.ids())) == ["large", "small", "small again"]


def test_a_folder_that_cannot_be_written_loses_the_log_and_no_prediction(kept: Kept) -> None:
    kept.spool.write_text("no folder")
    log = kept.log()
    client = Client(service_of(SERVED, observers=(log,)))
    assert client.post("/invocations", json={"instances": [[1, 2]]}).status_code == 200
    assert str(kept.spool) in log.told(SERVED)["problem"]


def test_a_disk_that_fails_loses_the_log_and_no_prediction(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    log = kept.log()
    client, body = Client(service_of(SERVED, observers=(log,))), {"instances": [[1, 2]] * 1000}
    assert client.post("/invocations", json=body, headers={"X-Request-ID": "before"}).status_code == 200

    def fails(*_: Any) -> int:
        raise OSError("the disk is broken")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwritev", fails)
        assert client.post("/invocations", json=body).status_code == 200
    assert log.told(SERVED)["problem"] == "the disk is broken"
    kept.shipper.ship()
    assert set(kept.ids()) == {"before"}


def test_what_is_not_kept_is_counted_from_0_on_so_that_the_first_of_it_is_an_increase(kept: Kept) -> None:
    NOT_KEPT.clear()
    assert PredictionLog.of(Settings(prediction_log=1.0, prediction_log_dir=kept.spool))
    (told,) = NOT_KEPT.collect()
    assert {sample.labels["reason"] for sample in told.samples if sample.name.endswith("_total")} == set(REASONS)


def test_nobody_else_may_read_what_waits_or_what_is_kept(kept: Kept) -> None:
    kept.log()(seen())
    assert {oct(path.stat().st_mode & 0o777) for path in kept.spool.iterdir()} == {"0o600"}
    assert oct(kept.spool.stat().st_mode & 0o777) == "0o700"
    kept.shipper.ship()
    assert {oct(path.stat().st_mode & 0o777) for path in kept.files()} == {"0o600"}


def test_while_a_worker_writes_its_last_file_grows_under_one_name(kept: Kept) -> None:
    log = kept.log()
    for number in range(3):
        log(seen(f"r{number}"))
        assert kept.shipper.ship() >= 1
        assert kept.ids() == [f"r{n}" for n in range(number + 1)]
    assert len(kept.files()) == 1
    assert kept.shipper.ship() == 0


def test_a_version_has_segments_of_its_own_and_what_is_done_is_deleted(kept: Kept) -> None:
    log = kept.log()
    log(seen("old"))
    log(seen("new", of=served_as(MODEL)))
    kept.shipper.ship()
    assert len(list(spool.segments(kept.spool))) == 1
    assert kept.ids() == ["new", "old"]


def test_predictions_of_two_hours_are_in_two_folders(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    log = kept.log()
    hour = 3600 * 10**9
    for name, now in (("a", 490_000 * hour + hour - 1), ("b", 490_001 * hour)):
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        log(seen(name))
    kept.shipper.ship()
    assert [file.parent.relative_to(kept.store).as_posix() for file in kept.files()] == [
        "predictions/model=iris_logistic_regression/date=2025-11-24/hour=16",
        "predictions/model=iris_logistic_regression/date=2025-11-24/hour=17",
    ]


class Failing(Store):
    """A store that takes what comes and dies after it, now and then; the shipper is then another process."""

    def __init__(self, folder: Path, fails: Iterator[bool]) -> None:
        super().__init__(fs.LocalFileSystem(), str(folder), "the folder")
        self._fails = fails

    def put(self, path: str, content: pa.Buffer) -> None:
        before, after = next(self._fails), next(self._fails)
        if before:
            raise StoreUnusable("it is gone")
        super().put(path, content)
        if after:
            raise StoreUnusable("it is gone")


@pytest.mark.fuzz
def test_a_shipper_that_dies_before_or_after_a_file_is_there_loses_none_and_doubles_none(kept: Kept) -> None:
    import random

    chance = random.Random(5)  # noqa: S311 - not for secrets
    log, count = kept.log(segment=64 * 1024, most=64 * MIB), 0
    for _ in range(30):
        for _ in range(chance.randrange(80)):
            log(seen(f"r{count:05}"))
            count += 1
        failing = Failing(kept.store, iter(lambda: chance.random() < 0.3, None))
        one = Shipper(kept.spool, failing, file_bytes=2000) if chance.random() < 0.5 else kept.shipper
        try:
            one.ship()
        except StoreUnusable:
            continue
    kept.shipper.ship()
    assert kept.ids() == [f"r{number:05}" for number in range(count)]


@pytest.mark.parametrize("torn_at", ["mark", "record", "version"])
def test_a_segment_that_a_power_cut_has_torn_is_left_and_told_and_the_others_are_shipped(
    kept: Kept, caplog: pytest.LogCaptureFixture, torn_at: str
) -> None:
    log = kept.log()
    log(seen("torn"))
    (torn,) = spool.segments(kept.spool)
    content = bytearray(torn.read_bytes()[:4096])
    mark, start, _, size = HEAD.unpack_from(content)
    if torn_at == "mark":
        content[:8] = (mark + 100).to_bytes(8, "little")
    elif torn_at == "record":  # its size is there, and the page after it never came to the disk
        content[start + 4 : mark] = bytes(mark - start - 4)
    else:
        content[HEAD.size : HEAD.size + size] = bytes(size)
    with open(torn, "r+b") as file:
        file.write(content)
    log(seen("whole", of=served_as(MODEL)))  # a segment of its own: nobody writes the torn one any more
    kept.shipper.ship()
    assert kept.ids() == (["torn", "whole"] if torn_at == "mark" else ["whole"])  # what is before the fault is there
    assert torn.with_suffix(".unusable").exists()
    assert ("is in" if torn_at == "record" else "cannot be shipped") in caplog.text


WATCHES = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
while (mark := int.from_bytes(os.pread(descriptor, 8, 0), "little")) < int(sys.argv[2]):
    if mark < 24:
        sys.exit(f"it says {mark}")
"""


@pytest.mark.fuzz
def test_whoever_reads_a_segment_while_it_is_written_sees_no_mark_that_is_half_written(tmp_path: Path) -> None:
    size = 8 * MIB
    segment = Segment(tmp_path / "a.segment", size, b"")
    watching = subprocess.Popen([sys.executable, "-c", WATCHES, str(tmp_path / "a.segment"), str(size // 2)], stderr=subprocess.PIPE, text=True)  # fmt: skip
    while watching.poll() is None and segment.append([bytes(40)], 40):
        pass
    assert (watching.communicate()[1], watching.returncode) == ("", 0)
    segment.close()


def test_a_segment_that_is_still_written_is_looked_at_again_whatever_is_in_it(kept: Kept) -> None:
    log = kept.log()
    log(seen("first"))
    (path,) = spool.segments(kept.spool)
    head = path.read_bytes()[:8]
    with open(path, "r+b") as file:
        file.write(bytes(8))
    with pytest.raises(SegmentUnusable, match=f"{path.name} cannot be shipped: its head does not fit"):
        kept.shipper.ship()
    with open(path, "r+b") as file:
        file.write(head)
    log(seen("second"))
    assert kept.shipper.ship() == 2
    assert kept.ids() == ["first", "second"]


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**63 - 1024])
def test_the_largest_whole_numbers_are_kept_beside_a_missing_one(kept: Kept, value: int) -> None:
    of = served_as(answering(Says([1, 0]), described(KINDS)))
    log = kept.log()
    log(seen("edge", [[1, value, True, "", None], [1, None, True, "", None]], of))
    kept.shipper.ship()
    assert kept.table()["input_count"].to_pylist() == [value, None]


class SaysBoth:
    """Answers with a whole number and a text where it is asked for two rows: no column is of both."""

    def predict(self, frame: Any) -> Any:
        return np.array([1, "Anna Secret"][: len(frame)], dtype=object)


def test_a_prediction_that_cannot_be_read_costs_no_other_and_none_of_its_values_is_logged(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    log, of = kept.log(), served_as(answering(SaysBoth(), described([Column("length"), Column("width")])))
    for name, rows in (("a", 1), ("odd", 2), ("b", 1), ("c", 1)):
        log(seen(name, [[1, 2]] * rows, of))
    assert kept.shipper.ship() == 3
    log(seen("d", [[1, 2]], of))
    assert kept.shipper.ship() == 4
    assert kept.ids() == ["a", "b", "c", "d"]
    (path,) = spool.segments(kept.spool)
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"predictions in {path.name} that cannot be read are left out: 1 ArrowInvalid"]
    assert "Anna" not in caplog.text
    log(seen("other"))  # of another version: the segment is done
    kept.shipper.ship()
    assert [path.name for path in kept.spool.glob("*.unusable")] == [path.with_suffix(".unusable").name]


def test_what_is_shipped_before_a_record_that_is_none_stays_shipped(kept: Kept) -> None:
    log = kept.log()
    log(seen("whole"))
    (path,) = spool.segments(kept.spool)
    end = int.from_bytes(path.read_bytes()[:8], "little")
    log(seen("torn"))
    with open(path, "r+b") as file:
        file.seek(end)
        file.write(bytes(100))
    log(seen("other", of=served_as(MODEL)))
    kept.shipper.ship()
    assert kept.ids() == ["other", "whole"]


def test_a_fault_of_one_segment_whichever_keeps_no_other_from_being_shipped(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = kept.log()
    log(seen("first"))
    (path,) = spool.segments(kept.spool)
    log(seen("second", of=served_as(MODEL)))
    real = shipper.Shipper._send

    def fails(self: Shipper, at: Path, piece: Any) -> int:
        if at == path:
            raise RecursionError("Anna Secret")
        return real(self, at, piece)

    monkeypatch.setattr(shipper.Shipper, "_send", fails)
    kept.shipper.ship()
    assert kept.ids() == ["second"]
    assert path.with_suffix(".unusable").exists()
    assert "RecursionError" in caplog.text
    assert "Anna" not in caplog.text


def test_whatever_goes_wrong_the_shipper_goes_on(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PREDICTION_LOG_DIR": str(kept.spool), "PREDICTION_LOG_STORE": str(kept.store)}
    work = shipper.Work(shipper.Shipping.from_env(environ))
    with monkeypatch.context() as broken:
        broken.setattr(Store, "forget", lambda *_: 1 // 0)
        assert not work.once()
    assert work.once()


def test_what_cannot_be_shipped_takes_no_room_from_what_can_and_the_oldest_of_it_goes(kept: Kept) -> None:
    log = kept.log(most=2 * MIB)
    versions = [served_as(answering(SaysBoth(), described([Column("length"), Column("width")]))) for _ in range(7)]
    left = []
    for number, of in enumerate(versions):
        log(seen("odd", [[1, 2]] * 2, of))
        kept.shipper.ship()
        left.append(max(spool.segments(kept.spool)).with_suffix(".unusable").name)
        assert log.told(of)["problem"] is None, number
    kept.shipper.ship()
    assert sorted(path.name for path in kept.spool.glob("*.unusable")) == sorted(left)[-5:-1]


def test_what_a_worker_did_not_live_to_finish_is_forgotten_after_a_minute(kept: Kept) -> None:
    kept.spool.mkdir()
    fresh, old = kept.spool / ".a-1.segment", kept.spool / ".b-1.segment"
    for draft in (fresh, old):
        draft.write_bytes(b"")
    os.utime(old, (time.time() - 120, time.time() - 120))
    kept.shipper.ship()
    assert (fresh.exists(), old.exists()) == (True, False)


def test_in_a_folder_what_is_older_than_so_many_days_goes(kept: Kept) -> None:
    from datetime import UTC, datetime

    days = [kept.store / "predictions" / "model=m" / f"date=2026-01-{day:02}" for day in (1, 2, 3)]
    for folder in [*days, kept.store / "predictions" / "model=m" / "date=mine"]:
        folder.mkdir(parents=True)
    kept.shipper._store.forget(0)
    assert all(folder.exists() for folder in days)
    kept.shipper._store.forget(1, datetime(2026, 1, 3, tzinfo=UTC))
    assert [folder.exists() for folder in days] == [False, True, True]
    assert (kept.store / "predictions" / "model=m" / "date=mine").exists()


def test_the_version_page_tells_of_the_log_where_there_is_one(kept: Kept) -> None:
    assert "prediction_log" not in client_of(SERVED).get("/version").json


def test_the_shipper_says_what_is_wrong_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    for environ, said in {
        "s3": (
            {"PREDICTION_LOG_STORE": "s3://b", "S3_ENDPOINT_URL": "x"},
            "S3_ENDPOINT_URL is 'x'; expected http(s)://HOST[:PORT]",
        ),
        "days": ({"PREDICTION_LOG_DAYS": "x"}, "PREDICTION_LOG_DAYS is 'x'; expected a whole number from 0 to 36500"),
    }.values():
        with pytest.raises(SystemExit, match="shipper: ") as ended:
            shipper.main([], environ)
        assert str(ended.value) == f"shipper: {said}"
    assert shipper.main(["--twice"], {}) == 2


def test_the_shipper_s_log_begins_with_its_settings(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"PREDICTION_LOG_DIR": str(kept.spool), "PREDICTION_LOG_STORE": str(kept.store)}
    environ |= {"PREDICTION_LOG_SECONDS": "2", "MLFLOW_TRACKING_URI": "postgresql://anna:hidden@mlflow.example"}
    assert shipper.main(["--once"], environ) == 0
    first, *_ = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["message"] == "Settings of the shipper"
    assert first["settings"] == {"folder": str(kept.spool), "store": str(kept.store), "seconds": 2.0, "days": 30}


def test_of_a_bucket_the_shipper_s_log_says_where_it_is(kept: Kept) -> None:
    environ = {"PREDICTION_LOG_STORE": "s3://predictions", "S3_ENDPOINT_URL": "http://minio:9000"}
    told = in_force.told(shipper.Shipping.from_env(environ))
    assert told["store"] == "s3://predictions at http://minio:9000"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("S3_ENDPOINT_URL", "https://ada:hid/den@s3.example", "https://s3.example"),
        ("S3_ENDPOINT_URL", "ada:hidden@s3.example", "s3.example"),
        ("PREDICTION_LOG_STORE", "s3://ada:hidden@b", "s3://b"),
        ("PREDICTION_LOG_STORE", "s3://ada:hid/den@b", "s3://b"),
        ("PREDICTION_LOG_STORE", "s3://ada@b", "s3://b"),
    ],
)
def test_a_store_that_is_named_with_a_login_is_refused_and_the_login_is_not_shown(
    name: str, value: str, shown: str
) -> None:
    environ = {"PREDICTION_LOG_STORE": "s3://b", "S3_ENDPOINT_URL": "http://minio:9000", name: value}
    said = f"{name} has a name or a password before the @ in {shown!r}; they go into the file that AWS_SHARED_CREDENTIALS_FILE names"
    with pytest.raises(SettingsError) as refused:
        Store.of(environ)
    assert str(refused.value) == said


def test_an_at_in_a_path_of_the_bucket_is_no_login() -> None:
    environ = {"PREDICTION_LOG_STORE": "s3://b/ana@team", "S3_ENDPOINT_URL": "http://minio:9000"}
    assert Store.of(environ).told == "s3://b/ana@team at http://minio:9000"


def test_one_shipper_at_a_time_is_at_work(kept: Kept) -> None:
    environ = {"PREDICTION_LOG_DIR": str(kept.spool), "PREDICTION_LOG_STORE": str(kept.store)}
    held = spool.lock(kept.spool)
    assert held is not None
    with pytest.raises(SystemExit, match="another one is at work"):
        shipper.main(["--once"], environ)
    os.close(held)
    kept.log()(seen("mine"))
    assert shipper.main(["--once"], environ) == 0
    assert kept.ids() == ["mine"]


# --- asked in SQL --------------------------------------------------------------------------------------------------


def asked(
    kept: Kept, capsys: pytest.CaptureFixture[str], *arguments: str, model: str = VERSION.name
) -> tuple[int, str]:
    try:
        code = command.main(list(arguments), {"PREDICTION_LOG_STORE": str(kept.store), "MODEL_NAME": model})
    except SystemExit as ended:  # argparse's
        code = int(str(ended.code))
    said = capsys.readouterr()
    return code, said.out + said.err


def test_sql_sees_all_versions_and_what_a_version_has_not_is_null(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    log = kept.log()
    log(seen("old"))
    log(seen("new", of=served_as(answering(Says([1]), described([Column("length"), Column("depth")])))))
    kept.shipper.ship()
    sql = "select request_id, prediction, input_width, input_depth, date <= '2999' as folder from predictions order by time"
    code, said = asked(kept, capsys, "query", "--csv", sql)
    assert code == 0, said
    assert said.splitlines() == [
        "request_id,prediction,input_width,input_depth,folder",
        "old,0,2.0,,true",
        "new,1,,2.0,true",
    ]
    assert "│ old" in asked(kept, capsys, "query", "select * from predictions")[1]


def test_a_column_that_changes_its_kind_between_versions_is_asked_as_text(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds: list[tuple[str, Any, Kind, Any]] = [
        ("a", 1, Kind.NUMBER, 1.5),
        ("b", 0.5, Kind.INTEGER, 2),
        ("c", "yes", Kind.TEXT, "large"),
    ]
    log = kept.log()
    for name, label, kind, value in kinds:
        log(seen(name, [[value]], served_as(answering(Says([label]), described([Column("size", kind)])))))
    kept.shipper.ship()
    sql = "select request_id, prediction, input_size from predictions where input_size <> 'small' order by 1"
    assert asked(kept, capsys, "query", "--csv", sql) == (
        0,
        "request_id,prediction,input_size\r\na,1,1.5\r\nb,0.5,2\r\nc,yes,large\r\n",
    )
    assert asked(kept, capsys, "query", "--csv", "select request_id from predictions where prediction = '1'") == (
        0,
        "request_id\r\na\r\n",
    )


def test_a_whole_number_that_becomes_any_number_is_asked_as_a_number(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    log = kept.log()
    for name, kind, value in (("a", Kind.INTEGER, 3), ("b", Kind.NUMBER, 2.5)):
        log(seen(name, [[value]], served_as(answering(Says([1]), described([Column("size", kind)])))))
    kept.shipper.ship()
    sql = "select request_id, input_size from predictions where input_size > 2.6"
    assert asked(kept, capsys, "query", "--csv", sql) == (0, "request_id,input_size\r\na,3.0\r\n")


def test_a_file_that_is_none_is_told_in_a_line(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.log()(seen())
    kept.shipper.ship()
    kept.files()[0].with_name("theirs.parquet").write_bytes(b"none")
    code, said = asked(kept, capsys, "query", "select count(*) from predictions")
    assert (code, len(said.splitlines())) == (3, 1)
    assert said.startswith("monitor: ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("query", "selec 1"), 2, "monitor: Parser Error"),
        (("query", "select * from predictions, read_csv('/etc/passwd')"), 2, "monitor: Permission Error"),
        (("query",), 2, "usage: monitor query"),
        (("report",), 2, "usage: monitor [-h] COMMAND ...\nmonitor: error: argument COMMAND: invalid choice: 'report'"),
        (
            ("query", "--json", "select 1"),
            2,
            "usage: monitor [-h] COMMAND ...\nmonitor: error: unrecognized arguments: --json",
        ),
    ],
)
def test_what_cannot_be_asked_is_told(
    kept: Kept, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    kept.log()(seen())
    kept.shipper.ship()
    found = asked(kept, capsys, *arguments)
    assert found[0] == code
    assert found[1].startswith(said)


def test_where_nothing_is_kept_that_is_told(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = asked(kept, capsys, "query", "select 1", model="nobody's")
    assert (code, said.startswith('monitor: no prediction of "nobody\'s" is kept in')) == (3, True)


def test_pandas_reads_the_folder_as_the_page_says(kept: Kept) -> None:
    kept.log()(seen("mine"))
    kept.shipper.ship()
    frame = pd.read_parquet(kept.store / "predictions" / f"model={VERSION.name}")
    assert frame["request_id"].tolist() == ["mine"]
    assert {"date", "hour"} <= set(frame.columns)
