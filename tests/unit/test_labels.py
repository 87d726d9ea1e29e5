"""Labels that come for predictions: from what a client sends to what is asked of them in SQL."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from inference.prediction_log import command
from inference.prediction_log.label_log import LabelLog
from inference.prediction_log.recorder import PredictionLog
from inference.prediction_log.segment import LABELS
from inference.prediction_log.shipper import Shipper
from inference.prediction_log.spool import Spool
from inference.prediction_log.store import Store
from inference.settings import Settings
from pyarrow import fs
from werkzeug.test import Client

from tests.unit.serving import SERVED, VERSION, service_of

MIB = 1024 * 1024
HOUR = 3600 * 10**9


class Labelled:
    """A service whose predictions are kept, and the folder that they and their labels are shipped to."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.settings = Settings(prediction_log=1.0, prediction_log_dir=folder / "spool")
        log = PredictionLog(1.0, frozenset(), Spool(folder / "spool", 64 * MIB, MIB))
        self.log = LabelLog(Spool(folder / "spool", 64 * MIB, MIB, LABELS))
        self.client = Client(service_of(SERVED, settings=self.settings, observers=(log,)))
        self._shipper = Shipper(folder / "spool", Store(fs.LocalFileSystem(), str(self.store), "the folder"))

    def predict(self, request_id: str, *rows: list[float]) -> None:
        answer = self.client.post("/invocations", json={"instances": rows}, headers={"X-Request-ID": request_id})
        assert answer.status_code == 200, answer.text

    def came(self, *labels: tuple[str, int, Any], trusted: bool = True) -> None:
        request_ids, rows, values = (list(each) for each in zip(*labels, strict=True))
        self.log.append(VERSION.name, request_ids, rows, values, trusted)

    def ship(self) -> None:
        self._shipper.ship()

    def asked(self, capsys: pytest.CaptureFixture[str], sql: str) -> list[dict[str, str]]:
        environ = {"PREDICTION_LOG_STORE": str(self.store), "MODEL_NAME": VERSION.name}
        assert command.main(["query", "--csv", sql], environ) == 0
        return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


@pytest.fixture
def labelled(tmp_path: Path) -> Labelled:
    return Labelled(tmp_path)


def test_a_label_stands_beside_its_row_with_when_it_came_and_whether_with_a_key(
    labelled: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.predict("a", [1, 2], [2, 1])
    labelled.predict("b", [1, 2])
    labelled.came(("a", 1, 0))
    labelled.came(("b", 0, 0), trusted=False)
    labelled.ship()
    sql = "select request_id, row, prediction, label, trusted, labelled_at > time as later, input_width from labelled order by 1"
    assert [list(row.values()) for row in labelled.asked(capsys, sql)] == [
        ["a", "1", "1", "0", "true", "true", "1.0"],
        ["b", "0", "0", "0", "false", "true", "2.0"],
    ]


def test_a_later_label_replaces_an_earlier_one_and_the_history_has_both(
    labelled: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.predict("a", [1, 2])
    for label in (1, 0):
        labelled.came(("a", 0, label))
        labelled.ship()
    assert [row["label"] for row in labelled.asked(capsys, "from labelled")] == ["0"]
    assert [row["label"] for row in labelled.asked(capsys, "from label_history order by time")] == ["1", "0"]


def test_a_label_belongs_to_the_latest_prediction_of_an_id_that_was_used_twice(
    labelled: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.predict("a", [1, 2])
    labelled.predict("a", [2, 1])
    labelled.came(("a", 0, 1))
    labelled.ship()
    assert [row["prediction"] for row in labelled.asked(capsys, "from labelled")] == ["1"]


def test_it_is_counted_how_many_came_again_late_and_for_what_is_not_there(
    labelled: Labelled, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled.predict("a", [1, 2])
    labelled.predict("b", [1, 2])
    labelled.came(("a", 0, 1), ("nobody's", 0, 1), ("a", 1, 1))
    labelled.came(("a", 0, 0), trusted=False)
    labelled.ship()
    counts = {"labels": "3", "trusted": "2", "repeated": "1", "unknown": "2", "late": "0"}
    assert labelled.asked(capsys, "from label_counts") == [counts]
    two_days_on = pd.Timestamp.now().value + 48 * HOUR
    monkeypatch.setattr("time.time_ns", lambda: two_days_on)
    labelled.came(("b", 0, 0))
    labelled.ship()
    assert labelled.asked(capsys, "select late from label_counts") == [{"late": "1"}]


def test_where_no_label_has_come_yet_there_are_none_to_ask(
    labelled: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.predict("a", [1, 2])
    labelled.ship()
    assert labelled.asked(capsys, "from labelled") == []
    assert labelled.asked(capsys, "select labels, late from label_counts") == [{"labels": "0", "late": "0"}]


def test_labels_of_a_day_are_in_its_folder_whichever_hour_they_came_in(
    labelled: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = pd.Timestamp("2026-03-01").value
    for number, hour in enumerate((-2, -1, 1, 2)):
        monkeypatch.setattr("time.time_ns", lambda hour=hour: midnight + hour * HOUR)
        labelled.came((f"r{number}", 0, number % 2))
    labelled.ship()
    files = sorted(labelled.store.rglob("*.parquet"))
    assert [str(file.parent.relative_to(labelled.store)) for file in files] == [
        "labels/model=iris_logistic_regression/date=2026-02-28",
        "labels/model=iris_logistic_regression/date=2026-03-01",
    ]
    assert [pq.ParquetFile(file).read()["request_id"].to_pylist() for file in files] == [["r0", "r1"], ["r2", "r3"]]
