"""Labels that come for predictions: from what a client sends to what is asked of them in SQL."""

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from contract.schema import Column
from inference.api_keys import command as keys
from inference.model.deployment import Deployment
from inference.prediction_log import command, views
from inference.prediction_log.label_log import LabelLog
from inference.prediction_log.recorder import PredictionLog
from inference.prediction_log.segment import LABELS
from inference.prediction_log.shipper import Shipper
from inference.prediction_log.spool import Spool
from inference.prediction_log.store import Store
from inference.settings import Settings
from pyarrow import fs
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client

from tests.unit.serving import SERVED, VERSION, answering, client_of, described, served_as, service_of

pytestmark = [pytest.mark.unhurried, pytest.mark.usefixtures("one_engine")]

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


class Monitor(Protocol):
    """The command `monitor`, which returns its exit code and what it says."""

    def __call__(self, *arguments: str, **environ: str) -> tuple[int, str]: ...


class Quiet(WSGIRequestHandler):
    """Logs no request."""

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class Says:
    """Says the same of each row."""

    def __init__(self, label: Any) -> None:
        self._label = label

    def predict(self, frame: Any) -> Any:
        return np.array([self._label] * len(frame))


class SaysWords(Says):
    """Says one of two words."""

    classes_ = np.array(["no", "yes"])

    def predict_proba(self, frame: Any) -> Any:
        return np.array([[0.5, 0.5]] * len(frame))


def answers(estimator: Any, output: str, width: int = 1) -> Deployment:
    return served_as(answering(estimator, replace(described([Column("x")], output=output), width=width)))


VALUES, WHOLE = answers(Says(0.5), "double"), answers(Says(1), "long")
WORDS, TRUTH = answers(SaysWords("yes"), "string"), answers(Says(True), "boolean")
PAIRS = answers(Says([0.5, 1.5]), "double", width=2)


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


def test_a_label_belongs_to_the_first_prediction_of_an_id_whoever_uses_it_again(
    labelled: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.predict("a", [1, 2])
    labelled.predict("a", [2, 1])
    labelled.predict("b", [1, 2])
    labelled.came(("a", 0, 1), ("b", 0, 1))
    labelled.ship()
    found = labelled.asked(capsys, "select request_id, prediction, trusted from labelled order by 1")
    # Who asked first may not be whom the label is meant for.
    assert [tuple(row.values()) for row in found] == [("a", "0", "false"), ("b", "0", "true")]


def test_a_label_that_came_without_a_key_takes_the_place_of_none_that_came_with_one(
    labelled: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.predict("a", [1, 2])
    labelled.came(("a", 0, 1))
    labelled.came(("a", 0, 0), trusted=False)
    labelled.ship()
    assert [(row["label"], row["trusted"]) for row in labelled.asked(capsys, "from labelled")] == [("1", "true")]


def test_it_is_counted_how_many_came_again_late_and_for_what_is_not_there(
    labelled: Labelled, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled.predict("a", [1, 2])
    labelled.predict("b", [1, 2])
    labelled.came(("a", 0, 1), ("nobody's", 0, 1), ("a", 1, 1))
    labelled.came(("a", 0, 0), trusted=False)
    labelled.ship()
    counts = {"labels": "3", "trusted": "3", "repeated": "1", "unknown": "2", "late": "0"}
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


# --- as clients send them --------------------------------------------------------------------------------------------


def sent(labelled: Labelled, *labels: Any, path: str = "/labels") -> Any:
    return labelled.client.post(path, json={"labels": list(labels)})


def test_labels_that_are_sent_are_kept_by_class_or_by_its_name_for_the_first_row_where_none_is_named(
    labelled: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.predict("a", [1, 2], [2, 1])
    assert "POST /labels" in labelled.client.get("/").json["endpoints"]
    answer = sent(labelled, {"request_id": "a", "label": "long"}, {"request_id": "a", "row": 1, "label": 0})
    assert (answer.status_code, answer.json) == (200, {"accepted": 2, "repeated": 0, "trusted": False})
    labelled.ship()
    found = labelled.asked(capsys, "select row, label, trusted from labelled order by row")
    assert [list(row.values()) for row in found] == [["0", "1", "false"], ["1", "0", "false"]]


def test_of_several_labels_of_a_row_in_one_request_the_last_counts_and_the_answer_says_how_many_there_were(
    labelled: Labelled, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled.predict("a", [1, 2])
    answer = sent(labelled, *({"request_id": "a", "label": label} for label in (1, 1, 0)), path="/labels/")
    assert answer.json == {"accepted": 1, "repeated": 2, "trusted": False}
    labelled.ship()
    assert [row["label"] for row in labelled.asked(capsys, "from labelled")] == ["0"]


GOOD = {"request_id": "a", "label": 1}


@pytest.mark.parametrize(
    ("labels", "where", "said"),
    [
        ([GOOD, GOOD, GOOD, {**GOOD, "label": 2}], "labels[3].label", "is 2; expected a class: 0 (short), 1 (long)"),
        ([{**GOOD, "label": "tall"}], "labels[0].label", "is 'tall'; expected a class"),
        ([{**GOOD, "label": True}], "labels[0].label", "is True; expected a class"),
        ([{**GOOD, "label": [1]}], "labels[0].label", "is [1.0]; expected a class"),
        ([{**GOOD, "label": None}], "labels[0].label", "got `null`"),
        ([{**GOOD, "row": -1}], "labels[0].row", "Expected `int` >= 0"),
        ([GOOD, {**GOOD, "row": "1"}], "labels[1].row", "Expected `int`, got `str`"),
        ([{**GOOD, "request_id": "a b"}], "labels[0].request_id", "regex"),
        ([{**GOOD, "request_id": "a\n"}], "labels[0].request_id", "regex"),
        ([{"request_id": "a"}], "labels[0]", "missing required field `label`"),
        ([{**GOOD, "rows": 1}], "labels[0]", "unknown field `rows`"),
        ([], "labels", "of length >= 1"),
    ],
)
def test_a_label_that_is_none_is_a_400_with_its_place_and_none_of_its_request_is_kept(
    labelled: Labelled, labels: list[Any], where: str, said: str
) -> None:
    answer = sent(labelled, *labels)
    assert (answer.status_code, answer.json["where"]) == (400, where)
    assert answer.json["message"].startswith(where)
    assert said in answer.json["message"]
    labelled.ship()
    assert not list(labelled.store.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b'{"labels": [', "application/json", 400),
        (b'{"labels": [{"request_id": "\xff", "label": 1}]}', "application/json", 400),
        (b'{"labels": ' + b"[" * 100_000, "application/json", 400),
        (b'{"labels": [{"request_id": "a", "label": ' + b"[" * 100_000, "application/json", 400),
        (b'{"labels": [{"request_id": "a", "label": 1e999}]}', "application/json", 400),
        (b'{"labels": [{"request_id": "a", "label": 1' + b"0" * 400 + b"}]}", "application/json", 400),
        (b'{"labels": [{"request_id": "a", "label": 1}]}', "text/plain", 415),
        (b'{"labels": [{"request_id": "a", "label": 1}]}', "", 415),
        (b" " * (2 * MIB + 1), "application/json", 413),
    ],
)
def test_what_is_no_request_with_labels_is_refused(labelled: Labelled, body: bytes, kind: str, status: int) -> None:
    assert labelled.client.post("/labels", data=body, content_type=kind).status_code == status


@pytest.mark.parametrize(
    ("served", "good", "bad", "expected"),
    [
        (VALUES, 2, "2", "a number"),
        (VALUES, -0.5, True, "a number"),
        (WHOLE, 2.0, 2.5, "a whole number"),
        (WORDS, "yes", "Yes", "a class: 'no', 'yes'"),
        (TRUTH, True, 1, "true or false"),
        (PAIRS, [1, 2.5], [1], "2 numbers"),
        (PAIRS, [1, 2.5], 1, "2 numbers"),
    ],
)
def test_a_label_is_what_the_model_could_have_answered(
    labelled: Labelled, served: Deployment, good: Any, bad: Any, expected: str
) -> None:
    client = Client(service_of(served, settings=labelled.settings))
    assert client.post("/labels", json={"labels": [{**GOOD, "label": good}]}).status_code == 200
    answer = client.post("/labels", json={"labels": [{**GOOD, "label": bad}]})
    assert (answer.status_code, answer.json["where"]) == (400, "labels[0].label")
    assert answer.json["message"].endswith(f"expected {expected}")
    labelled.ship()
    (file,) = labelled.store.rglob("*.parquet")
    assert pq.ParquetFile(file).read()["label"].to_pylist() == [good]


def test_without_predictions_that_are_kept_it_is_said_how_there_would_be_some() -> None:
    answer = Client(service_of(SERVED)).post("/labels", json={"labels": [GOOD]})
    assert answer.status_code == 404
    assert "POST /labels" not in client_of(SERVED).get("/").json["endpoints"]
    assert "PREDICTION_LOG=1" in answer.json["message"]


def test_labels_that_cannot_be_kept_are_refused_for_now_and_not_lost_without_a_word(labelled: Labelled) -> None:
    settings = replace(labelled.settings, prediction_log_spool_bytes=1)
    answer = Client(service_of(SERVED, settings=settings)).post("/labels", json={"labels": [GOOD]})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "labels cannot be kept now" in answer.json["message"]


def test_where_keys_are_asked_for_a_label_needs_one_for_labels_and_is_trusted(
    labelled: Labelled, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEYS_FILE", str(tmp_path / "keys"))
    for name in ("labels", "predict"):
        assert keys.main(["add", name, "--scopes", name]) == 0
    for_labels, for_predictions = capsys.readouterr().out.split()
    settings = replace(labelled.settings, api_keys_file=tmp_path / "keys", cache_dir=tmp_path)
    client = Client(service_of(SERVED, settings=settings))

    def status(key: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        answer = client.post("/labels", json={"labels": [GOOD]}, headers=headers)
        return answer.status_code, answer.json

    assert client.post("/labels", json={"labels": [GOOD]}).status_code == 401
    assert status(for_predictions)[0] == 403
    assert status(for_labels) == (200, {"accepted": 1, "repeated": 0, "trusted": True})


# --- as a file -------------------------------------------------------------------------------------------------------


@pytest.fixture
def monitor(labelled: Labelled, capsys: pytest.CaptureFixture[str]) -> Iterator[Monitor]:
    """The command, beside a service that answers at an address."""
    server = make_server("127.0.0.1", 0, labelled.client.application, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def run(*arguments: str, **environ: str) -> tuple[int, str]:
        given = {
            "PREDICTION_LOG_STORE": str(labelled.store),
            "INFERENCE_URL": f"http://127.0.0.1:{server.server_port}",
        }
        code = command.main(list(arguments), given | environ)
        said = capsys.readouterr()
        return code, said.out + said.err

    yield run
    server.shutdown()
    thread.join()
    server.server_close()


LABELS_OF_A = [{"request_id": "a", "row": 0, "label": "long"}, {"request_id": "a", "row": 1, "label": 0}]


def as_parquet(folder: Path) -> Path:
    pd.DataFrame([{**each, "label": number} for number, each in enumerate(LABELS_OF_A)]).to_parquet(
        folder / "l.parquet"
    )
    return folder / "l.parquet"


def as_csv(folder: Path) -> Path:
    pd.DataFrame(LABELS_OF_A).to_csv(folder / "l.csv", index=False)
    return folder / "l.csv"


def as_json_lines(folder: Path) -> Path:
    (folder / "l.jsonl").write_text("\n".join(map(json.dumps, LABELS_OF_A)) + "\n\n")
    return folder / "l.jsonl"


@pytest.mark.parametrize(
    ("write", "labels"), [(as_csv, ["1", "0"]), (as_parquet, ["0", "1"]), (as_json_lines, ["1", "0"])]
)
def test_a_file_of_labels_is_sent_whichever_of_three_kinds_it_is(
    labelled: Labelled,
    monitor: Monitor,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    write: Callable[[Path], Path],
    labels: list[str],
) -> None:
    labelled.predict("a", [1, 2], [2, 1])
    said = "2 labels are taken, 0 of them with an API key; 0 more were of rows that had one already\n"
    assert monitor("labels", str(write(tmp_path))) == (0, said)
    labelled.ship()
    assert [row["label"] for row in labelled.asked(capsys, "from labelled order by row")] == labels
    code, status = monitor("labels", "status", "--csv")
    assert (code, status.splitlines()) == (0, ["labels,trusted,repeated,unknown,late", "2,0,0,0,0"])


def test_labels_come_from_standard_input_too(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"request_id,label\na,1\n17,0\n")))
    assert monitor("labels", "-")[1].startswith("2 labels are taken")


def test_of_a_file_that_is_refused_it_is_said_which_label_it_is_and_what_was_taken_before(
    monitor: Monitor, tmp_path: Path
) -> None:
    lines = ["request_id,row,label", *(f"r{number},0,1" for number in range(1002)), "r,0,7"]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    code, said = monitor("labels", str(tmp_path / "l.csv"))
    assert code == 3
    assert said == (
        f"monitor: {tmp_path}/l.csv: label 1003 is 7; expected a class: 0 (short), 1 (long); "
        "the 1000 before were taken, and may be sent again\n"
    )


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        ("request_id,row,label\n", 3, "there is no label in it"),
        ("", 3, "there is no label in it"),
        ("id,label\na,1\n", 3, "label 1 has id, label; expected request_id, row, label"),
        ("request_id,label\na,1,2\n", 3, "label 1 has request_id, label, more; expected"),
        ("request_id,label\na\n", 3, "label 1: Expected"),
        ("request_id,row,label\na,x,1\n", 3, "label 1, its row: Expected `int`, got `str`"),
        ('{"request_id": "a"', 3, "it is neither Parquet nor CSV nor JSON lines"),
        ('{"request_id": "a", "label": 1}\n[1]', 3, "label 2 has no names; expected"),
        ("PAR1", 3, "it is neither Parquet nor CSV nor JSON lines"),
    ],
)
def test_a_file_that_is_none_is_told_in_a_line(
    monitor: Monitor, tmp_path: Path, content: str, code: int, said: str
) -> None:
    (tmp_path / "l").write_text(content)
    found = monitor("labels", str(tmp_path / "l"))
    assert found[0] == code
    assert found[1].startswith(f"monitor: {tmp_path}/l: {said}")
    assert len(found[1].splitlines()) == 1


@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [
        ({}, 3, "monitor: nothing.csv cannot be read: No such file or directory\n"),
        ({"INFERENCE_URL": "inference:1235"}, 2, "monitor: INFERENCE_URL is 'inference:1235'; expected http(s)://"),
    ],
)
def test_what_cannot_be_sent_is_told(monitor: Monitor, environ: dict[str, str], code: int, said: str) -> None:
    found = monitor("labels", "nothing.csv", **environ)
    assert found[0] == code
    assert found[1].startswith(said)


def test_a_service_that_is_not_there_is_told(monitor: Monitor, tmp_path: Path) -> None:
    code, said = monitor("labels", str(as_csv(tmp_path)), INFERENCE_URL="http://127.0.0.1:1")
    assert (code, "http://127.0.0.1:1 takes no labels: " in said) == (3, True)


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(labelled: Labelled) -> None:
    labelled.predict("a", [1, 2])
    labelled.ship()
    tries: list[int] = []

    def ask(connection: duckdb.DuckDBPyConnection) -> int:
        tries.append(len(tries))
        if len(tries) == 1:
            raise duckdb.InvalidInputException("Page was smaller (1062) than expected (1473)")
        return int(connection.sql("select count(*) from predictions").fetchall()[0][0])

    assert views.asked(Store(fs.LocalFileSystem(), str(labelled.store), "the folder"), VERSION.name, ask) == 1
    assert len(tries) == 2
