"""Requests out of bytes: what is read, in whatever pieces it comes, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference.http.request_parser import (
    MOST_FIELD,
    MOST_FIELDS,
    MOST_FRAMING,
    MOST_HEAD,
    MOST_URL,
    MalformedRequest,
    Request,
    RequestReader,
)

from tests.fuzzing import fuzz

HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
READ = 64 * 1024


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heads: list[Request] = []
        self.bodies: list[bytes] = []
        self.whole: list[Request] = []

    def head_came(self, request: Request) -> None:
        self.heads.append(request)
        self.bodies.append(b"")

    def body_came(self, request: Request, piece: bytes) -> None:
        assert request is self.heads[-1]
        self.bodies[-1] += piece

    def request_came(self, request: Request) -> None:
        assert request is self.heads[-1]
        self.whole.append(request)


def read(*pieces: bytes) -> Told:
    told = Told()
    reader = RequestReader(told, "192.0.2.1")
    for piece in pieces:
        reader.feed(memoryview(piece))
    return told


def in_reads(sent: bytes) -> list[bytes]:
    return [sent[start : start + READ] for start in range(0, len(sent), READ)]


def test_a_head_is_described_as_wsgi_does() -> None:
    told = read(
        b"POST /a%20b/%C3%BC?x=1&y=%20#f HTTP/1.1\r\nHost: localhost:1235\r\nContent-Type: text/csv\r\n"
        b"Content-Length: 2\r\nX-Request-ID:  abc \r\nAccept: a\r\nAccept: b\r\nX_Request_ID: forged\r\n\r\n{}"
    )
    environ = told.heads[0].environ
    assert (
        environ.items()
        >= {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/a b/\xc3\xbc",
            "QUERY_STRING": "x=1&y=%20",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "192.0.2.1",
            "HTTP_HOST": "localhost:1235",
            "CONTENT_TYPE": "text/csv",
            "CONTENT_LENGTH": "2",
            "HTTP_X_REQUEST_ID": "abc",
            "HTTP_ACCEPT": "a,b",
        }.items()
    )
    assert (told.bodies, len(told.whole)) == ([b"{}"], 1)


def test_a_path_may_come_as_a_whole_address() -> None:
    assert read(b"GET http://elsewhere/nothing?a=b HTTP/1.1\r\n\r\n").heads[0].environ["PATH_INFO"] == "/nothing"
    for address in (b"http://elsewhere", b"http://elsewhere?a=b", b"http://[::1/", b"http://"):
        assert read(b"GET %s HTTP/1.1\r\n\r\n" % address).heads[0].environ["PATH_INFO"] == "/"
    assert read(b"OPTIONS * HTTP/1.1\r\n\r\n").heads[0].environ["PATH_INFO"] == "*"


def test_requests_are_the_same_in_whatever_pieces_they_come() -> None:
    sent = (
        HEAD
        + b"Content-Length: 5\r\n\r\nhello"
        + CHUNKED
        + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
        + HEAD
        + b"\r\n"
    )
    whole = read(sent)
    for told in (read(*(sent[i : i + 1] for i in range(len(sent)))), read(sent[:50], sent[50:])):
        assert told.bodies == whole.bodies == [b"hello", b"abcde", b""]
        assert [request.environ for request in told.heads] == [request.environ for request in whole.heads]
        assert len(told.whole) == 3


SEEDS = [
    HEAD + b"Content-Length: 5\r\n\r\nhello" + HEAD + b"\r\n",
    CHUNKED + b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + HEAD + b"\r\n",
    HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello" + HEAD + b"\r\n",
    b"GET http://e/n?x#y HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2,
]
PARTS = [b"\r\n", b"\n", b":", b" ", b"0", b"Upgrade: x\r\n", b"Content-Length: 1\r\n", b"http://[", b"CONNECT "]


def outcome(sent: bytes, size: int) -> tuple[list[object], list[bytes], int, bool]:
    """Return what a reader told of these bytes, and whether it took all of them."""
    told = Told()
    reader = RequestReader(told, "")
    try:
        for start in range(0, len(sent), size):
            reader.feed(memoryview(sent[start : start + size]))
    except MalformedRequest:
        is_all = False
    else:
        is_all = True
    return [request.environ for request in told.heads], told.bodies, len(told.whole), is_all


@fuzz(300)
@given(st.sampled_from(SEEDS), st.integers(0, 200), st.integers(0, 9), st.binary(max_size=3) | st.sampled_from(PARTS))
def test_broken_requests_are_the_same_in_whatever_pieces_they_come(seed: Any, at: Any, length: Any, put: Any) -> None:
    sent = seed[:at] + put + seed[at + length :]
    assert outcome(sent, 3) == outcome(sent, READ)


def test_whether_a_head_is_on_its_way_is_known() -> None:
    told = Told()
    reader = RequestReader(told, "")
    for piece, is_in_head in (
        (b"\r\n", True),
        (HEAD, True),
        (b"Content-Length: 3\r\n\r\na", False),
        (b"bc", False),
        (HEAD + b"\r\n", False),
        (HEAD + b"\r\nP", True),
    ):
        reader.feed(memoryview(piece))
        assert reader.is_in_head is is_in_head, piece


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_whether_the_client_goes_on_is_known(head: bytes, closes: bool) -> None:
    assert read(head).heads[0].closes is closes


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_offer_of_another_protocol_is_passed_over_and_the_body_is_the_requests(size: int) -> None:
    bodies = (b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"\r\n")
    sent = b"".join(HEAD + OFFER + body for body in bodies) + HEAD + b"Content-Length: 2\r\n\r\nhi"
    told = read(*(sent[i : i + size] for i in range(0, len(sent), size)))
    assert told.bodies == [b"hello", b"hello", b"", b"hi"]
    assert len(told.whole) == 4


def test_an_offer_may_have_the_longest_path_and_a_body() -> None:
    told = read(b"POST /%s HTTP/1.1\r\n%sContent-Length: 5\r\n\r\nhello" % (b"x" * (MOST_URL - 1), OFFER))
    assert told.bodies == [b"hello"]


def test_what_is_broken_in_the_body_after_an_offer_is_no_request() -> None:
    with pytest.raises(MalformedRequest):
        read(HEAD + OFFER + b"Content-Length: %s5\r\n\r\nhello" % (b"0" * 5000))


def test_a_thousand_offers_in_one_read_are_passed_over() -> None:
    sent = (b"GET / HTTP/1.1\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n") * 1000
    assert len(read(sent).whole) == 1000


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\nHost: a\n\n",
        HEAD + b"Content-Length: 2\n\r\n{}",
        HEAD + b"Content-Length: 2\r\n\n{}",
        HEAD + b"X: a\r\n b\r\n\r\n",
        HEAD + b"X : a\r\n\r\n",
        HEAD + b"X: a\x00b\r\n\r\n",
        HEAD + b"X: a\rb\r\n\r\n",
        HEAD + b"Host: other\r\n\r\n",
        HEAD + b"Content-Length: \r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: +1\r\n\r\n",
        HEAD + b"Content-Length: 5 5\r\n\r\n",
        HEAD + b"Content-Length: 5, 5\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
        HEAD + b"Content-Length: " + b"0" * 4301 + b"\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + HEAD + b"\r\n",
        b"CONNECT elsewhere:443 HTTP/1.1\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        CHUNKED + b"5\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello!!\r\n",
        CHUNKED + b"0x5\r\nhello",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n",
        CHUNKED + b"0\r\nbad trailer\r\n\r\n",
    ],
    ids=lambda sent: repr(sent.replace(HEAD, b""))[:60],
)
def test_what_two_servers_could_read_in_two_ways_is_no_request(sent: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(sent)


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /" + b"x" * 10 * READ,
        b"GET / HTTP/1.1\r\nX: " + b"x" * 10 * READ,
        b"GET / HTTP/1.1\r\n" + b"x" * 10 * READ,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2 * READ,
        b"\r\n" * 5 * READ,
        CHUNKED + b"5;" + b"a" * 10 * READ,
        CHUNKED + b"0" * 10 * READ,
        CHUNKED + b"0\r\nX: " + b"a" * 10 * READ,
        CHUNKED + b"0\r\n" + b"X: y\r\n" * 2 * READ,
        CHUNKED + b"1\r\n \r\n" * 2 * READ,
    ],
    ids=["path", "header", "name", "headers", "empty lines", "extension", "size", "trailer", "trailers", "tiny chunks"],
)
@pytest.mark.parametrize("size", [1000, READ])
def test_what_has_no_end_is_given_up_within_some_reads(endless: bytes, size: int) -> None:
    reader, taken = RequestReader(Told(), ""), []

    def feed() -> None:
        for start in range(0, len(endless), size):
            reader.feed(memoryview(endless[start : start + size]))
            taken.append(size)

    with pytest.raises(MalformedRequest):
        feed()
    assert sum(taken) <= MOST_HEAD + MOST_FRAMING + READ


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * MOST_URL + b" HTTP/1.1\r\n\r\n",
        HEAD + b"X: " + b"y" * MOST_FIELD + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % i for i in range(MOST_FIELDS)) + b"\r\n",
    ],
    ids=["path", "header", "headers"],
)
def test_a_head_over_a_limit_is_refused_and_one_at_it_is_not(head: bytes) -> None:
    with pytest.raises(MalformedRequest, match=r"over the limit of|more than"):
        read(head)
    assert read(head.replace(b"xx", b"x", 1).replace(b"yy", b"y", 1).replace(b"X-0: y\r\n", b"")).whole


def test_a_body_in_chunks_of_some_bytes_is_read() -> None:
    """Some programs send a line of CSV at a time."""
    told = read(*in_reads(CHUNKED + b"c\r\n5.1,3.5,1.4\n\r\n" * 30_000 + b"0\r\n\r\n"))
    assert told.bodies == [b"5.1,3.5,1.4\n" * 30_000]


def test_a_name_is_not_remembered_whatever_its_length() -> None:
    from inference.http.request_parser import LONGEST_KNOWN, _known_key_of

    _known_key_of.cache_clear()
    read(*(HEAD + b"X-%s: y\r\n\r\n" % (b"a" * size) for size in range(1, 100)))
    assert _known_key_of.cache_info().currsize < LONGEST_KNOWN
