"""The companion of the guided tour: which phase what is seen makes it, and what it says in both languages."""

import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from contract.tracking.alias_history import Move
from trainer.commands.workshop import workshop
from trainer.console.terminal import Console
from trainer.settings import Settings
from trainer.workshop import progress, seen
from trainer.workshop.seen import Seen, Service, Training
from trainer.workshop.words import LANGUAGES, WORDS, language_of

ONE = Training("1", "Production", frozenset({("C", "1.0"), ("data_sha256", "a")}), {"test_accuracy": 0.9667})
TWO = replace(ONE, version="2", stage="Staging")
THREE = Training("3", "None", frozenset({("C", "0.001"), ("data_sha256", "a")}), {"test_accuracy": 0.7})
TRAINED = Move("2026-11-26T19:00:00+00:00", "train", None, "1", "nothing was in Production")
PROMOTED = Move("2026-11-26T19:10:00+00:00", "promote", "1", "2", "by hand")
BACK = Move("2026-11-26T19:20:00+00:00", "rollback", "2", "1", "customers complain")
STARTED = Seen(0, (ONE,), ("1",), "1", (TRAINED,), Service("1"))
EXPLORED = replace(STARTED, explorations=1)
AGAIN = replace(EXPLORED, trainings=(ONE, TWO), versions=("1", "2"))
TRIED = replace(AGAIN, trainings=(ONE, TWO, THREE), versions=("1", "2", "3"))
CHOSEN = replace(TRIED, production="2", moves=(TRAINED, PROMOTED), service=Service("2"))
ASKED = replace(CHOSEN, service=Service("2", 6))
DONE = replace(ASKED, production="1", moves=(TRAINED, PROMOTED, BACK), service=Service("1", 6))


def shown(
    found: Seen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], language: str = "en", **of: str
) -> str:
    monkeypatch.setattr(seen, "look", lambda _: found)
    workshop(Settings(**of), language, Console(width=200))  # type: ignore[arg-type]
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "phase", "command"),
    [
        (Seen(service=Service(fault="refused")), 1, "make explore"),
        (STARTED, 1, "make explore"),
        (EXPLORED, 2, "make train"),
        (AGAIN, 3, 'make train ARGS="--param C=0.001"'),
        (TRIED, 4, "make promote VERSION=2"),
        (CHOSEN, 5, None),
        (ASKED, 6, "make rollback ARGS=\"--reason 'trying the way back'\""),
    ],
)
def test_the_first_phase_that_is_not_done_is_the_one_you_are_in_and_its_next_step_is_shown(
    found: Seen,
    phase: int,
    command: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = shown(found, monkeypatch, capsys)
    assert f"You are in phase {phase}: " in said
    assert re.findall(r"^→ (\d)", said, re.M) == [str(phase)]
    assert re.findall(r"^    (\S.*)$", said, re.M) == ([] if command is None else [command])
    assert re.search(rf"^The page: docs/workshop/en/{phase}-[a-z-]+\.md$", said, re.M)


def test_who_has_done_all_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(DONE, monkeypatch, capsys)
    assert re.findall(r"^✓ (\d)", said, re.M) == list("123456")
    assert "You have been through all six phases." in said
    assert "You are in phase" not in said


def test_in_the_stack_the_next_step_is_a_command_of_docker_compose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = shown(TRIED, monkeypatch, capsys, image="mlflow-stack/trainer")
    assert "    docker compose run --rm trainer promote 2\n" in said
    said = shown(ASKED, monkeypatch, capsys, image="mlflow-stack/trainer")
    assert '    docker compose run --rm trainer rollback --reason "trying the way back"\n' in said


@pytest.mark.parametrize(
    ("service", "words"),
    [
        (Service(fault="401 Unauthorized"), "the prediction service does not answer (401 Unauthorized)"),
        (Service(), "the prediction service has no model yet"),
        (Service("1", 7), "version 1 is served, and Production is version 2"),
        (Service("2"), "version 2 is served; nobody has asked it anything yet"),
        (Service("2", 7), "version 2 is served, rows predicted: 7"),
    ],
)
def test_what_the_prediction_service_says_is_held_against_the_registry(
    service: Service, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in shown(replace(CHOSEN, service=service), monkeypatch, capsys)


def test_registered_is_told_from_in_production(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "version 3 is registered, Production is version 1" in shown(TRIED, monkeypatch, capsys)
    assert "la versión 3 está registrada; en Production está la versión 1" in shown(TRIED, monkeypatch, capsys, "es")
    assert "no version is registered" in shown(replace(EXPLORED, versions=()), monkeypatch, capsys)


def test_before_the_first_training_none_is_said_to_be_tracked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "MLflow no tiene todavía ningún entrenamiento" in shown(Seen(), monkeypatch, capsys, "es")


def test_two_versions_are_the_same_training_only_with_the_same_settings_and_the_same_figures() -> None:
    assert progress.equal_trainings((ONE, TWO)) == (ONE, TWO)
    assert progress.equal_trainings((ONE, THREE)) is None
    assert progress.equal_trainings((ONE, replace(TWO, figures={"test_accuracy": 0.96}))) is None


def test_a_version_below_the_quality_gate_is_none_to_promote() -> None:
    assert progress.challenger(TRIED) == "2"
    assert progress.challenger(replace(TRIED, trainings=(ONE, THREE))) is None


@pytest.fixture
def service() -> Iterator[tuple[str, dict[str, tuple[int, str]], list[str | None]]]:
    """Yield the URL of an HTTP server, its answers by path, and the logins that it was sent."""
    answers: dict[str, tuple[int, str]] = {}
    logins: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers["Authorization"])
            status, text = answers[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", answers, logins
        server.shutdown()


def looked(url: str, tmp_path: Path) -> Service:
    return seen.look(Settings(tracking_uri=f"sqlite:///{tmp_path}/none.db", inference_url=url)).service


def test_the_service_is_asked_what_it_serves_and_is_not_given_the_login_for_mlflow(
    service: tuple[str, dict[str, tuple[int, str]], list[str | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "trainer")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    url, answers, logins = service
    rows = 'inference_rows_total{model="m",version="%s"} %s\n'
    answers["/version"] = (200, '{"model": {"version": "2"}}')
    answers["/metrics"] = (200, "# HELP inference_rows_total Rows\n" + rows % (1, "4.0") + rows % (2, "1e+01"))
    assert looked(url, tmp_path) == Service("2", 14)
    assert logins == [None, None]
    assert not list(tmp_path.iterdir())  # no database was made


def test_a_service_that_does_not_answer_is_told_of(
    service: tuple[str, dict[str, tuple[int, str]], list[str | None]], tmp_path: Path
) -> None:
    url, answers, _ = service
    answers["/version"] = (401, "this service asks for an API key")
    assert looked(url, tmp_path) == Service(fault="401")
    answers["/version"] = (200, "<html>")
    assert looked(url, tmp_path) == Service(fault=f"{url}/version")
    answers |= {"/version": (200, '{"model": null}'), "/metrics": (200, "")}
    assert looked(url, tmp_path) == Service()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert looked(f"http://127.0.0.1:{port}", tmp_path) == Service(fault=f"http://127.0.0.1:{port}")


def test_both_languages_say_the_same_things_of_the_same_facts() -> None:
    english, spanish = (WORDS[language] for language in LANGUAGES)
    assert english.keys() == spanish.keys()
    for key in english:
        assert sorted(re.findall(r"\{\w+\}", english[key])) == sorted(re.findall(r"\{\w+\}", spanish[key])), key


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "es_MX.UTF-8"}, "es"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "es_ES.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "C.UTF-8", "LC_MESSAGES": "es"}, "es"),
    ],
)
def test_the_language_is_that_of_the_terminal(environ: dict[str, str], language: str) -> None:
    assert language_of(environ) == language
