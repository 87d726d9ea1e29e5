"""How the services log in to MLflow: by the environment or by MLflow's own file, and to nobody else."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from contract.tracking.artifacts import Proxy
from contract.tracking.bounded_http import content_of
from contract.tracking.credentials import authorization
from contract.tracking.rest import Server, Unanswered

FILE = "[mlflow]\nmlflow_tracking_username = anna\nmlflow_tracking_password = secret\n"
# anna:secret and bob:secret
ANNA, BOB = "Basic YW5uYTpzZWNyZXQ=", "Basic Ym9iOnNlY3JldA=="


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".mlflow").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(home: Path, content: str) -> None:
    (home / ".mlflow" / "credentials").write_text(content)


def test_without_a_login_none_is_sent(home: Path) -> None:
    assert authorization({}) is None
    assert authorization({"MLFLOW_TRACKING_USERNAME": "anna"}) is None
    write(home, "[other]\nx = 1\n")
    assert authorization({}) is None


def test_the_file_counts_and_each_variable_wins_over_it_as_in_mlflows_client(home: Path) -> None:
    write(home, FILE)
    assert authorization({}) == ANNA
    assert authorization({"MLFLOW_TRACKING_USERNAME": "bob"}) == BOB
    write(home, FILE.replace("anna", "bob"))
    assert authorization({}) == BOB


@pytest.mark.parametrize(
    "content", ["no section\n", "[mlflow]\nmlflow_tracking_password = 100%\n", "[mlflow]\n[mlflow]\n"]
)
def test_a_file_that_is_none_is_told_and_its_content_is_not(home: Path, content: str) -> None:
    write(home, content)
    with pytest.raises(OSError, match=r"~/.mlflow/credentials is no file of MLflow's"):
        authorization({})


class _Server(HTTPServer):
    def __init__(self) -> None:
        self.logins: list[tuple[str, str | None]] = []
        self.elsewhere = ""
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.logins.append((self.path, self.headers["Authorization"]))
        self.send_response(302 if self.server.elsewhere else 200)
        if self.server.elsewhere:
            self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def servers() -> Iterator[tuple[_Server, _Server]]:
    found = (_Server(), _Server())
    for server in found:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    for server in found:
        server.shutdown()
        server.server_close()


def test_the_login_goes_to_the_server_that_is_asked_and_not_where_it_sends_us(
    home: Path, servers: tuple[_Server, _Server]
) -> None:
    asked, other = servers
    write(home, FILE)
    asked.elsewhere = f"{other.url}/there"
    with pytest.raises(Unanswered):
        Server(asked.url, 5, 100).get("here")
    assert asked.logins == [("/api/2.0/mlflow/here?", ANNA)]
    assert other.logins == [("/there", None)]


def test_the_login_goes_to_no_address_but_the_tracking_servers(home: Path, servers: tuple[_Server, _Server]) -> None:
    tracking, other = servers
    write(home, FILE)
    assert b"".join(Proxy(f"{tracking.url}/artifacts", "1/models/m").pieces("a", 100, time.monotonic() + 5)) == b""
    content_of(f"{other.url}/here", 100, 5)
    assert tracking.logins == [("/artifacts/1/models/m/a", ANNA)]
    assert other.logins == [("/here", None)]
