"""An answer over HTTP, from servers that would go on for ever a byte at a time."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.error import HTTPError, URLError

import pytest
from contract.tracking.bounded_http import content_of

DRIPPING = {
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "answers before the answer": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "what goes with a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "what comes after the last chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    "a content": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "the content of an error": (b"HTTP/1.1 500 Oh\r\n\r\n", b"x"),
    "the content of an error in chunks": (b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.fixture
def server() -> Iterator[Callable[..., str]]:
    """Return what starts a server for one client: it says `first`, then `more` again and again, and returns its URL."""
    over, threads = threading.Event(), []

    def start(first: bytes, more: bytes = b"") -> str:
        listener = socket.create_server(("127.0.0.1", 0))

        def talk() -> None:
            with listener, listener.accept()[0] as client, suppress(OSError):
                client.recv(65536)
                client.sendall(first)
                for _ in range(100 if more else 0):
                    if over.wait(0.02):
                        return
                    client.sendall(more)

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield start
    over.set()
    for thread in threads:
        thread.join(30)


@pytest.mark.parametrize("what", DRIPPING)
def test_whatever_drips_is_cut_when_the_time_is_over(server: Callable[..., str], what: str) -> None:
    with pytest.raises(OSError, match=r"^it did not arrive in time$"):
        content_of(server(*DRIPPING[what]), 1024**2, 0.2)


def test_an_error_comes_with_its_content(server: Callable[..., str]) -> None:
    with pytest.raises(HTTPError) as failed:
        content_of(server(b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nwords"), 10, 30)
    assert (failed.value.code, failed.value.read()) == (500, b"words")


def test_an_error_whose_content_breaks_off_is_still_that_error(server: Callable[..., str]) -> None:
    with pytest.raises(HTTPError) as failed:
        content_of(server(b"HTTP/1.1 500 Oh\r\nContent-Length: 50\r\n\r\nwords"), 10, 30)
    assert failed.value.code == 500


def test_an_answer_from_elsewhere_is_followed(server: Callable[..., str]) -> None:
    there = server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwords")
    here = server(f"HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())
    assert content_of(here, 10, 30) == b"words"


def test_an_answer_sends_nobody_to_what_is_not_http(server: Callable[..., str]) -> None:
    with pytest.raises(URLError, match="unknown url type: ftp"):
        content_of(server(b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"), 10, 30)
