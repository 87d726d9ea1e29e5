"""What the services make of each answer that a registry can give, from a stand-in server that gives just that one."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pytest
from inference.errors import FetchFailed, NoModel, RegistryUnreachable, VersionLost
from inference.model.version import ModelVersion
from inference.rollout.registry import connect
from trainer.errors import AnswerTooLong
from trainer.tracking import alias_moves, rest
from trainer.tracking import registry as registry_of_trainer

from tests.integration.conftest import Training
from tests.integration.places import MODEL, Place, free_port

ABSENT = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"Registered Model with name={MODEL} not found"}
FAULT = {"error_code": "INTERNAL_ERROR", "message": "the database is away"}


@pytest.fixture
def stand_in() -> Iterator[Any]:
    """Return a function that starts a server with one answer to everything, but for some paths, and returns its URL."""
    servers = []

    def start(status: int, body: bytes, **others: tuple[int, bytes]) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code, content = next((answer for part, answer in others.items() if part in self.path), (status, body))
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(OSError):  # a client that has enough is gone
                    self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def registry(url: str) -> Any:
    return connect(url, MODEL, "Production")


def test_the_version_behind_the_alias_is_understood(stand_in: Any) -> None:
    version = {"name": MODEL, "version": "3", "run_id": "abc", "creation_timestamp": 1700000000000}
    version |= {"source": "models:/m-1", "tags": [{"key": "signed_by", "value": "k"}]}
    url = stand_in(200, json.dumps({"model_version": version}).encode())
    assert registry(url).current() == ModelVersion(MODEL, "3", "abc", 1700000000000, "m-1", "k")


def answer_with(**changes: Any) -> bytes:
    """Return what a registry answers of a version that has what is given."""
    version = {"name": MODEL, "version": "3", "run_id": "abc", "creation_timestamp": 1, "source": "models:/m-1"}
    return json.dumps({"model_version": version | changes}).encode()


@pytest.mark.parametrize("source", ["runs:/abc/model", "models:/other/1", "s3://bucket/model", ""])
def test_a_version_that_points_at_no_logged_model_has_no_id_of_one(stand_in: Any, source: str) -> None:
    assert registry(stand_in(200, answer_with(source=source))).current().model_id == ""


def test_an_answer_that_somebody_has_made_huge_is_not_read(stand_in: Any) -> None:
    """A client can write 5000 tags with one call."""
    tags = [{"key": f"tag {n}", "value": "x" * 500} for n in range(5000)]
    with pytest.raises(RegistryUnreachable, match=r"does not answer: it has \d+ bytes; expected at most 1048576"):
        registry(stand_in(200, answer_with(tags=tags))).current()


def test_of_tags_and_description_what_the_contract_names_is_passed_on_and_cut(stand_in: Any) -> None:
    tags = [{"key": f"tag {n}", "value": "x" * 5000} for n in range(50)]
    tags += [{"key": "stage", "value": "y" * 5000}, {"key": "rule", "value": "\x1b[2J\u202ebetter\n"}]
    found = registry(stand_in(200, answer_with(tags=tags, description="z" * 5000 + "\x07"))).current()
    assert found.tags == {"stage": "y" * 500 + "…", "rule": "\\x1b[2J\\u202ebetter\\n"}
    assert found.description == "z" * 4000 + "…"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        answer_with(tags=[3]),
        answer_with(tags=3),
        answer_with(creation_timestamp="soon"),
        answer_with(creation_timestamp=[]),
    ],
    ids=["nested", "tags of numbers", "a number for tags", "no time", "a list for a time"],
)
def test_an_answer_that_is_none_says_nothing_of_the_model(stand_in: Any, body: Any) -> None:
    with pytest.raises(RegistryUnreachable, match="does not answer"):
        registry(stand_in(200, body)).current()


def test_an_error_of_many_lines_is_told_in_one(stand_in: Any) -> None:
    message = (
        "\n\nWhen a URI was supplied, it must be another.\nPerhaps you forgot to:\n1. Start\n2. Set the tracking URI"
    )
    body = json.dumps({"error_code": "INTERNAL_ERROR", "message": message}).encode()
    with pytest.raises(RegistryUnreachable, match=r"refuses: 500 When a URI was supplied, it must be another\.$"):
        registry(stand_in(500, body)).current()


VERSION = ModelVersion(MODEL, "3", "abc", 1, "m-1", "")


@pytest.mark.parametrize(
    ("status", "content", "error"), [(404, ABSENT, VersionLost), (500, FAULT, FetchFailed), (403, {}, FetchFailed)]
)
def test_a_version_is_lost_where_the_registry_says_so_and_nowhere_else(
    stand_in: Any, status: Any, content: Any, error: Any
) -> None:
    with pytest.raises(FetchFailed) as failed:
        registry(stand_in(status, json.dumps(content).encode())).location(VERSION)
    assert type(failed.value) is error


LIVING = json.dumps({"model": {"info": {"lifecycle_stage": "active"}}, "run": {"info": {"lifecycle_stage": "active"}}})
DELETED_RUN = json.dumps({"run": {"info": {"lifecycle_stage": "deleted"}}})


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({}, None),
        ({"logged-models/": (404, json.dumps(ABSENT).encode())}, "its logged model m-1 is deleted in MLflow"),
        ({"runs/get": (200, DELETED_RUN.encode())}, "its run abc is deleted in MLflow"),
        ({"runs/get": (404, json.dumps(ABSENT).encode())}, None),
    ],
    ids=["nothing", "model", "run", "a run that was never there"],
)
def test_what_is_deleted_of_a_version_is_told_while_its_files_are_there(
    stand_in: Callable[..., str], others: dict[str, tuple[int, bytes]], said: str | None
) -> None:
    found = registry(stand_in(200, LIVING.encode(), **others)).deleted(VERSION)
    assert found == said or (said and found.startswith(said))


def test_a_registry_that_fails_does_not_say_that_anything_is_deleted(stand_in: Callable[..., str]) -> None:
    with pytest.raises(RegistryUnreachable):
        registry(stand_in(500, json.dumps(FAULT).encode())).deleted(VERSION)


def test_what_is_deleted_of_a_version_is_told_from_a_database(first: Training, tmp_path: Path) -> None:
    place = first.place.copy(tmp_path / "copy")
    version = registry(place.tracking_uri).current()
    assert registry(place.tracking_uri).deleted(version) is None
    place.client.delete_run(version.run_id)
    assert registry(place.tracking_uri).deleted(version) == f"its run {version.run_id} is deleted in MLflow"
    place.client.delete_logged_model(version.model_id)
    assert f"its logged model {version.model_id} is deleted" in registry(place.tracking_uri).deleted(version)


def test_a_run_with_metrics_without_end_has_those_that_come_first(stand_in: Any) -> None:
    metrics = [{"key": f"metric {n}", "value": n} for n in range(5000)]
    url = stand_in(200, json.dumps({"run": {"data": {"metrics": metrics}}}).encode())
    assert len(registry(url).metrics("abc")) == 1000


@pytest.mark.parametrize("error_code", ["RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"])
def test_mlflow_saying_that_there_is_none_is_no_model(stand_in: Any, error_code: str) -> None:
    url = stand_in(404, json.dumps({**ABSENT, "error_code": error_code}).encode())
    with pytest.raises(NoModel, match=f"no version of '{MODEL}' has the alias 'Production' yet"):
        registry(url).current()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, json.dumps(FAULT).encode()),
        (502, b"<html>Bad Gateway</html>"),
        (404, b"<html>Not Found</html>"),
        (403, b"Invalid Host header"),
        (200, b"<html>Welcome to the hotel's network</html>"),
        (200, b"{}"),
        (200, b""),
        (200, b"[]"),
    ],
)
def test_any_other_answer_says_nothing_of_the_model(stand_in: Any, status: Any, body: Any) -> None:
    url = stand_in(status, body)
    with pytest.raises(RegistryUnreachable, match=f"MLflow at {url} "):
        registry(url).current()


def test_no_answer_says_nothing_of_the_model() -> None:
    with pytest.raises(RegistryUnreachable, match="does not answer"):
        registry(f"http://127.0.0.1:{free_port()}").current()


def test_a_database_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachable, match=r"mlflow\.db cannot be read"):
        registry(f"sqlite:///{tmp_path}/mlflow.db").current()
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_a_trainer_is_just_making_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        with pytest.raises(RegistryUnreachable, match=r"mlflow\.db cannot be read"):
            registry(f"sqlite:///{tmp_path}/mlflow.db").current()
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("experiments",)]


def test_a_file_that_is_no_database_says_nothing_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(RegistryUnreachable, match=r"mlflow\.db cannot be read"):
        registry(f"sqlite:///{tmp_path}/mlflow.db").current()


def test_the_version_behind_the_alias_is_found_in_a_database(first: Training) -> None:
    version = first.place.client.get_model_version(MODEL, "1")
    assert registry(first.place.tracking_uri).current() == ModelVersion(
        MODEL,
        "1",
        version.run_id,
        version.creation_timestamp,
        version.source.removeprefix("models:/"),
        version.tags["signed_by"],
    )


def test_a_version_that_is_gone_from_a_database_is_lost(first: Training) -> None:
    with pytest.raises(VersionLost, match="it is gone from the registry"):
        registry(first.place.tracking_uri).location(ModelVersion(MODEL, "99", "abc", 1, "m-1", ""))


def test_a_database_without_the_alias_has_no_model(first: Training) -> None:
    with pytest.raises(NoModel, match="has the alias 'Staging' yet"):
        connect(first.place.tracking_uri, MODEL, "Staging").current()


@pytest.mark.parametrize("source", ["runs:/abc/model", "models:/other/1", "s3://bucket/model"])
def test_a_version_in_production_that_was_made_by_hand_leaves_bootstrap_nothing_to_do(
    stand_in: Any, tmp_path: Path, source: str
) -> None:
    url = stand_in(200, json.dumps({"model_version": {"version": "3", "source": source}}).encode())
    result = Place(tmp_path / "place").command("bootstrap", MLFLOW_TRACKING_URI=url)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"version 3 of {MODEL} is in Production: nothing to do\n"


@pytest.mark.parametrize("command", ["train", "bootstrap"])
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, json.dumps(FAULT).encode(), "the database is away"),
        (502, b"<html>Bad Gateway</html>", "502 <html>Bad Gateway</html>"),
        (403, b"Invalid Host header", "403 Invalid Host header"),
        (200, b"<html>Welcome to the hotel's network</html>", "does not answer"),
    ],
)
def test_a_trainer_whose_server_refuses_ends_with_its_words(
    stand_in: Any, tmp_path: Path, command: str, status: Any, body: Any, said: Any
) -> None:
    url = stand_in(status, body)
    result = Place(tmp_path / "place").command(command, MLFLOW_TRACKING_URI=url)
    assert result.returncode == 4  # MLflow refuses
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"trainer: MLflow at {url} ")
    assert said in line


def found(location: str) -> bytes:
    """Return what a registry answers of a version and of the logged model that it points at."""
    model = {"info": {"model_id": "m-1", "artifact_uri": location}}
    return json.dumps({"model_version": {"version": "3", "source": "models:/m-1"}, "model": model}).encode()


# The part of a URL at which a server lists a version's files.
LISTING = "mlflow-artifacts/artifacts"
FOUND = found("mlflow-artifacts:/1/models/m-1/artifacts")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, json.dumps(FAULT).encode()),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "Access Denied"}'),
        # What MLflow answers where the bucket is not there; the logged model is.
        (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "The specified bucket does not exist"}'),
        (200, b"<html>Welcome to the hotel's network</html>"),
    ],
)
def test_bootstrap_trains_nothing_while_the_files_in_production_are_only_hard_to_reach(
    stand_in: Any, tmp_path: Path, status: Any, body: Any
) -> None:
    url = stand_in(200, FOUND, **{LISTING: (status, body)})
    result = Place(tmp_path / "place").command("bootstrap", MLFLOW_TRACKING_URI=url)
    assert result.returncode == 4, result.stdout
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"trainer: MLflow at {url} ")


def test_a_version_whose_files_are_in_another_store_is_lost_before_that_is_asked(stand_in: Any) -> None:
    for location in ("s3://bucket/x", "file:///x", "mlflow-artifacts:/a/../b"):
        url = stand_in(200, found(location), **{LISTING: (500, b"{}")})
        production = rest.production(url, MODEL, "ours")
        words = f"its files (its files are at {location!r}; expected mlflow-artifacts:/PATH, on the server itself)"
        assert production == rest.Production("3", words)


def test_bootstrap_trains_nothing_over_an_alias_that_was_taken_away(stand_in: Any, tmp_path: Path) -> None:
    made = {"time": "2026-01-02T03:04:05+00:00", "by": "train", "before": None, "version": "16", "reason": "better"}
    tags = [{"key": "move.20260102T030405.000000.0", "value": json.dumps(made)}, {"key": "move.9", "value": "not json"}]
    registered = json.dumps({"registered_model": {"name": MODEL, "tags": tags}}).encode()
    url = stand_in(404, json.dumps(ABSENT).encode(), **{"registered-models/get": (200, registered)})
    result = Place(tmp_path / "place").command("bootstrap", MLFLOW_TRACKING_URI=url)
    assert result.returncode == 5, result.stdout
    assert f"nothing is in Production of {MODEL}, where version 16 was" in result.stderr
    assert "`rollback` or `promote 16` puts one there" in result.stderr


@pytest.fixture
def asked(stand_in: Callable[..., str]) -> Iterator[Callable[..., str]]:
    """Return a function that starts a stand-in which this process then asks by MLflow's own client."""
    before = mlflow.get_tracking_uri()

    def start(**answers: bytes) -> str:
        url = stand_in(200, found("x"), **{part: (200, body) for part, body in answers.items()})
        mlflow.set_tracking_uri(url)
        return url

    yield start
    mlflow.set_tracking_uri(before)


FLOOD = [{"key": f"tag {number}", "value": "x" * 5000} for number in range(4000)]


def test_of_a_model_with_tags_without_end_the_alias_is_told_and_no_record_is_read(asked: Callable[..., str]) -> None:
    asked(**{"registered-models/get": json.dumps({"registered_model": {"tags": FLOOD}}).encode()})
    records = alias_moves.read(MODEL)
    assert (records.moves, records.now) == ({}, "3")
    (remark,) = records.remarks
    assert remark.startswith(f"no record of a move of {MODEL} is read: an answer of MLflow's is not read (")
    assert "it goes on after 16 MB" in remark
    assert "has to be deleted" in remark


@pytest.mark.parametrize("kind", ["metrics", "tags", "params"])
def test_a_run_with_more_than_is_read_has_no_figures(asked: Callable[..., str], kind: str) -> None:
    asked(**{"runs/get": json.dumps({"run": {"data": {kind: FLOOD}}}).encode()})
    version = registry_of_trainer.model_version(MODEL, "3")
    version._run_id = "abc"
    assert registry_of_trainer.recorded(version) == ({}, {})


def test_a_version_with_tags_without_end_is_an_error_that_says_what_to_do(asked: Callable[..., str]) -> None:
    url = asked(**{"model-versions/get": json.dumps({"model_version": {"version": "3", "tags": FLOOD}}).encode()})
    with pytest.raises(AnswerTooLong, match="none of the trainer's tags or metrics has to be deleted") as refused:
        registry_of_trainer.model_version(MODEL, "3")
    assert refused.value.exit_code == 4
    assert url in str(refused.value)


def test_an_answer_that_is_as_long_as_it_may_be_is_read(asked: Callable[..., str]) -> None:
    body = json.dumps({"model_version": {"version": "3", "tags": FLOOD[:3000]}}).encode()
    asked(**{"model-versions/get": body + b" " * (rest.MOST_BYTES - len(body))})
    assert len(registry_of_trainer.model_version(MODEL, "3").tags) == 3000


def test_what_a_server_says_is_shown_and_not_obeyed(stand_in: Any, tmp_path: Path) -> None:
    url = stand_in(500, json.dumps({"message": "\x1b[2J\x1b[1;32mall is well\nline two"}).encode())
    result = Place(tmp_path / "place").command("bootstrap", MLFLOW_TRACKING_URI=url)
    assert result.returncode == 4
    assert result.stderr == f"trainer: MLflow at {url} refuses: 500 \\x1b[2J\\x1b[1;32mall is well line two\n"
