"""An external Postgres that starts at the same moment as the stack is waited for; whatever else it says is told at once."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from setup import database
from setup.errors import SetupError

NO_TLS = b"N"


def refusal(words: str) -> bytes:
    """Return a message of Postgres's protocol that ends a connection."""
    fields = f"SFATAL\0VFATAL\0C28P01\0M{words}\0\0".encode()
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


@pytest.fixture
def postgres() -> Iterator[Callable[[list[bytes | None]], str]]:
    """Return what starts a server that gives each connection the next of some answers, None for a hang-up, and returns its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(answers: list[bytes | None]) -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with closing(connection):
                if answer is None:
                    continue
                connection.recv(8)  # whether it has TLS
                connection.sendall(NO_TLS)
                connection.recv(1024)
                connection.sendall(answer)

    def start(answers: list[bytes | None]) -> str:
        threads.append(threading.Thread(target=serve, args=(answers,), daemon=True))
        threads[0].start()
        return f"postgresql://ml:secret@127.0.0.1:{listener.getsockname()[1]}/mlflow"

    threads: list[threading.Thread] = []
    with closing(listener):
        yield start
        threads[0].join(10)
    assert not threads[0].is_alive()  # each answer was asked for


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a clock that goes on when somebody sleeps, and only then."""
    seconds = [0.0]
    monkeypatch.setattr(time, "sleep", seconds.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(seconds))


def test_one_that_is_starting_is_waited_for(postgres: Callable[[list[bytes | None]], str]) -> None:
    starting = refusal("the database system is starting up")
    uri = postgres([None, starting, starting, *[refusal('password authentication failed for user "ml"')] * 2])
    said = database._prepare_external(uri)
    assert next(said) == "Postgres at 127.0.0.1 is starting; it has 60 seconds"
    with pytest.raises(SetupError, match="password authentication failed"):
        next(said)


def test_one_that_does_not_come_is_told_with_its_own_words(
    postgres: Callable[[list[bytes | None]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE", 3.0)
    said = database._prepare_external(postgres([refusal("the database system is starting up")] * 4))
    next(said)
    with pytest.raises(SetupError, match="the database system is starting up"):
        next(said)


@pytest.mark.parametrize("words", ['password authentication failed for user "ml"', "no pg_hba.conf entry for host"])
def test_what_waiting_does_not_help_is_told_at_once(postgres: Callable[[list[bytes | None]], str], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        list(database._prepare_external(postgres([refusal(words)] * 2)))
