"""More than can be done, and clients that misbehave: a clear answer or a closed connection, and memory that stays flat."""

import gzip
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration import worst_bodies
from tests.integration.conftest import Training
from tests.integration.places import CLASSES, ROOT, SAMPLES, Service, eventually

JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"instances": SAMPLES}).encode()
HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
MB = 1024 * 1024
# What a worker may take at its worst, with bodies of up to 16 MB: docs/serving.md, "How much it can do".
MOST_MB = 70 + 36 * 16
# Sockets of a worker that are no client's: where it listens, the poller.
OWN_SOCKETS = 2


@pytest.fixture(scope="module")
def place(first: Training, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return first.place.copy(tmp_path_factory.mktemp("pressure") / "place")


@pytest.fixture(scope="module")
def service(place: Any) -> Iterator[Any]:
    """One worker, so that all that is asked meets in it."""
    with place.inference(INFERENCE_WORKERS="1", INFERENCE_BODY_SECONDS="2") as service:
        service.answers("/ready")
        yield service


def connect(service: Service) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def read_all(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received


def peak_mb(service: Service) -> float:
    """Return the most memory that the worker has had so far."""
    (worker,) = service.workers()
    (line,) = [line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def is_content(service: Service) -> bool:
    return service.predict() == CLASSES


def test_three_hundred_clients_that_send_a_byte_at_a_time_keep_nobody_else_from_being_answered(service: Any) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(300)]
        for i, client in enumerate(clients):
            client.sendall(HEAD[: 20 + i % 20] if i % 2 else HEAD + b"Content-Length: 100\r\n\r\n{")
        for letter in (b" ", b" ", b" "):
            for client in clients:
                client.sendall(letter)
            assert all(is_content(service) for _ in range(20))


def test_a_body_that_does_not_arrive_in_time_is_given_up_with_the_words(service: Any) -> None:
    with connect(service) as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        received = read_all(client)
    assert received.startswith(b"HTTP/1.1 400")
    assert b"the body ends after 1 of the 100 bytes" in received


def test_a_client_that_leaves_in_the_middle_of_a_request_is_forgotten(service: Any) -> None:
    for sent in (
        b"POST /invo",
        HEAD,
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5",
    ):
        with connect(service) as client:
            client.sendall(sent)
    with connect(service) as client:  # it has asked, and does not wait for the answer
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    assert is_content(service)
    eventually("nobody is in flight but who asks", lambda: "requests_in_flight 1.0" in service.get("/metrics").text)
    assert "Traceback" not in service.log


def test_a_body_of_a_hundred_megabytes_is_refused_and_takes_no_memory(service: Any) -> None:
    before = peak_mb(service)
    with connect(service) as client:
        client.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (100 * MB))
        piece = b" " * MB
        for _ in range(100):
            client.sendall(piece)
        received = read_all(client)
    assert received.startswith(b"HTTP/1.1 413")
    assert peak_mb(service) - before < 10
    assert is_content(service)


def test_chunks_without_an_end_are_refused_at_the_limit(service: Any) -> None:
    with connect(service) as client:
        client.sendall(HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + b" " * MB + b"\r\n"
        for _ in range(18):
            client.sendall(piece)
        client.sendall(b"0\r\n\r\n")
        received = read_all(client)
    assert received.startswith(b"HTTP/1.1 413")
    assert is_content(service)


@pytest.mark.parametrize(
    "endless",
    [b"5;" + b"a" * (8 * MB), b"1\r\n \r\n" * MB, b"0\r\n" + b"X: y\r\n" * MB, b"0" * (8 * MB)],
    ids=["an extension", "tiny chunks", "trailers", "a size"],
)
def test_chunks_that_are_mostly_framing_are_refused_and_keep_nobody_waiting(service: Any, endless: Any) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(6)]

        def send(client: socket.socket) -> bytes:
            with suppress(ConnectionError):  # it is closed before all is sent
                client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + endless)
            with suppress(ConnectionError):
                return read_all(client)
            return b""

        with ThreadPoolExecutor(6) as senders:
            asked = [senders.submit(send, client) for client in clients]
            while not all(future.done() for future in asked):
                assert is_content(service)
        received = {future.result()[:12] for future in asked}
    assert received <= {b"HTTP/1.1 400", b""}


def test_a_gzip_bomb_is_refused_before_it_is_unpacked_whole(service: Service) -> None:
    bomb = gzip.compress(b" " * (50 * MB))
    answer = requests.post(f"{service.url}/invocations", bomb, headers=JSON | {"Content-Encoding": "gzip"}, timeout=30)
    assert (answer.status_code, answer.json()["error_code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
    assert "the unpacked body is over the limit of" in answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5_000_000,
        b'{"instances":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000,
        b'{"instances": [' + b"[]," * 5_000_000 + b"[]]}",
        b'{"instances": [' + b"{}," * 5_000_000 + b"{}]}",
        b'{"instances": [[' + b"9" * 15_000_000 + b"]]}",
        b'{"instances": [["' + b"\\u00e9" * 2_000_000 + b'"]]}',
    ],
    ids=["brackets", "lists", "records", "empty lists", "empty records", "one number", "one text"],
)
def test_json_that_is_made_to_hurt_is_refused(service: Any, body: Any) -> None:
    answer = requests.post(f"{service.url}/invocations", body, headers=JSON, timeout=120)
    assert answer.status_code in (400, 413), answer.text[:200]
    assert len(answer.text) < 2000
    assert is_content(service)


def test_many_large_requests_at_once_are_answered_or_told_to_come_again_and_others_are_answered_meanwhile(
    service: Any,
) -> None:
    rows = (SAMPLES * 250_000)[:500_000]
    body = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": rows}}).encode()
    assert 10 * MB < len(body) < 16 * MB

    def ask(_: int) -> tuple[int, str | None]:
        answer = requests.post(f"{service.url}/invocations", body, headers=JSON, timeout=300)
        return answer.status_code, answer.headers.get("Retry-After")

    with ThreadPoolExecutor(12) as clients:
        asked = [clients.submit(ask, i) for i in range(12)]
        meanwhile = 0
        while not all(future.done() for future in asked):
            meanwhile += is_content(service)
        answers = [future.result() for future in asked]
    assert meanwhile > 3
    assert {status for status, _ in answers} == {200, 503}
    assert {retry for status, retry in answers if status == 503} == {"1"}
    # One at a time: the memory of one of them, and the bodies that wait.
    assert peak_mb(service) < MOST_MB
    assert is_content(service)


def test_the_worst_of_each_format_six_at_once_takes_no_more_memory_than_the_documentation_says(place: Any) -> None:
    with place.inference(INFERENCE_WORKERS="1") as service:
        service.answers("/ready")

        def ask(named: tuple[str, worst_bodies.Request]) -> tuple[str, int]:
            title, (path, headers, body) = named
            while (answer := requests.post(service.url + path, body, headers=headers, timeout=300)).status_code == 503:
                assert answer.headers["Retry-After"] == "1", "there are others before it"
            return title, answer.status_code

        with ThreadPoolExecutor(6) as clients:
            statuses = dict(clients.map(ask, worst_bodies.requests_for(COLUMNS)))
        assert set(statuses.values()) <= {200, 400, 413}, statuses
        assert {title for title, status in statuses.items() if status == 200} >= {
            "numbers alone",
            "numbers alone, compressed",
            "CSV of zeros",
        }
        assert peak_mb(service) < MOST_MB
        assert is_content(service)


def test_what_a_row_takes_for_a_hundred_columns_that_are_left_out_is_bounded_too(place: Any) -> None:
    script = ROOT / "tests" / "integration" / "worst_bodies.py"
    result = place.run(sys.executable, str(script), "100")
    assert result.returncode == 0, result.stderr
    found = {title: (status, mb) for title, status, mb in map(json.loads, result.stdout.splitlines())}
    assert set(found) == worst_bodies.LEFT_OUT
    assert {status for status, _ in found.values()} == {200, 413}, found
    assert max(mb for _, mb in found.values()) < 30 * worst_bodies.SIZE / MB, found


COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


def test_a_client_that_does_not_read_its_answer_is_given_up_and_the_memory_with_it(service: Any) -> None:
    body = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": SAMPLES * 30_000}}).encode()
    head = HEAD.replace(b"/invocations", b"/predict_names") + b"Content-Length: %d\r\n\r\n" % len(body)
    with ExitStack() as stack:
        for _ in range(6):
            client = stack.enter_context(connect(service))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(head + body)
        eventually("all are given up", lambda: "requests_in_flight 1.0" in service.get("/metrics").text)
        eventually("their connections are closed", lambda: open_connections(service) < 6)
        assert is_content(service)
    assert peak_mb(service) < MOST_MB


def test_large_answers_to_small_requests_that_nobody_reads_are_bounded_together(service: Any) -> None:
    rows = 50_000
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "UINT8", "parameters": {"binary_data_size": 4 * rows}}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}).encode()
    body = head + b"\1" * 4 * rows
    assert len(body) < 256 * 1024
    whole = b"POST /v2/models/iris_logistic_regression/infer HTTP/1.1\r\nHost: localhost\r\n"
    whole += b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (len(head), len(body)) + body
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(70)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
            client.sendall(whole)
        assert {client.recv(12) for client in clients} <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        assert open_connections(service) < 60, "all together they are more than may be unread: the oldest are given up"
        assert service.get("/health").ok
    eventually("there is room again", lambda: service.post("/invocations", {"instances": SAMPLES}).ok)
    assert peak_mb(service) < MOST_MB


def open_connections(service: Service) -> int:
    """Return how many clients the worker holds."""
    (worker,) = service.workers()
    links = [os.readlink(link) for link in Path(f"/proc/{worker}/fd").iterdir() if link.is_symlink()]
    return sum(link.startswith("socket:") for link in links) - OWN_SOCKETS


def test_a_large_body_that_is_refused_leaves_one_line_in_the_log_and_no_traceback(service: Any) -> None:
    body = json.dumps({"instances": [*SAMPLES * 20_000, [1]]}).encode()
    assert len(body) > 256 * 1024
    answer = requests.post(f"{service.url}/invocations", body, headers=JSON, timeout=60)
    assert (answer.status_code, answer.json()["where"]) == (400, "instances[60000]")
    assert "Traceback" not in service.log


def test_a_million_rows_are_answered(place: Any) -> None:
    with place.inference(INFERENCE_WORKERS="1", INFERENCE_MAX_BODY_MB="64") as service:
        service.answers("/ready")
        body = b'{"instances": [' + b",".join([b"[5.1,3.5,1.4,0.2]"] * 1_000_000) + b"]}"
        answer = requests.post(f"{service.url}/invocations", body, headers=JSON, timeout=120)
        assert answer.status_code == 200
        assert answer.json() == {"predictions": [0] * 1_000_000}
        assert peak_mb(service) < 400


@pytest.fixture(scope="module")
def crowded(place: Any) -> Iterator[Any]:
    """A service that holds four connections."""
    with place.inference(INFERENCE_WORKERS="1", INFERENCE_CONNECTIONS="4") as service:
        service.answers("/ready")
        yield service


def test_a_connection_beyond_the_limit_is_told_to_come_again_and_let_in_when_there_is_room(crowded: Any) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connect(crowded)) for _ in range(4)]
        for client in held:
            client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 100")
        with connect(crowded) as client:
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in head
    assert b"X-Model-Version: 1" in head
    assert json.loads(body)["error_code"] == "RESOURCE_EXHAUSTED"
    eventually("there is room again", lambda: crowded.post("/invocations", {"instances": SAMPLES}).ok)


def test_connections_that_send_half_a_head_keep_nobody_from_being_answered(crowded: Any) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(crowded)).sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        eventually("it answers", lambda: crowded.get("/health").ok, seconds=5)
        assert all(crowded.get(path).status_code == 200 for path in ("/health", "/ready", "/health"))
        assert is_content(crowded)


def test_what_waits_too_long_for_its_turn_is_told_to_come_again_and_all_is_well_when_the_load_has_gone(
    place: Any,
) -> None:
    body = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": SAMPLES * 2_500}}).encode()
    assert len(body) < 256 * 1024, "not large: any number of them may wait"
    whole = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with place.inference(INFERENCE_WORKERS="1", INFERENCE_QUEUE_SECONDS="0.05") as service, ExitStack() as stack:
        service.answers("/ready")
        connections = [stack.enter_context(connect(service)) for _ in range(100)]
        # All but the last byte first, so that they are whole at about the same time however slow this machine is.
        with ThreadPoolExecutor(100) as clients:
            list(clients.map(lambda client: client.sendall(whole[:-1]), connections))
        for client in connections:
            client.sendall(whole[-1:])
        answers = [read_all(client) for client in connections]
        statuses = [answer.split(b" ", 2)[1] for answer in answers]
        assert set(statuses) == {b"200", b"503"}
        assert all((b"Retry-After: 1" in answer) is (b" 503 " in answer[:20]) for answer in answers)
        assert all(is_content(service) for _ in range(50))


def test_a_worker_that_was_stopped_refuses_nobody_who_has_not_waited_that_long(service: Any) -> None:
    (worker,) = service.workers()
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    stop, answers = threading.Event(), []

    def ask() -> None:
        with connect(service) as client:
            while not stop.is_set():
                began = time.monotonic()
                client.sendall(whole)
                (status,) = statuses(client, 1)
                answers.append((status, time.monotonic() - began))

    clients = [threading.Thread(target=ask) for _ in range(6)]
    for client in clients:
        client.start()
    eventually("they are at it", lambda: len(answers) > 100)
    os.kill(worker, signal.SIGSTOP)
    try:
        threading.Event().wait(1.2)
    finally:
        os.kill(worker, signal.SIGCONT)
    before = len(answers)
    eventually("they go on", lambda: len(answers) > before + 100)
    stop.set()
    for client in clients:
        client.join()
    assert {status for status, _ in answers} <= {b"200", b"503"}
    assert not [waited for status, waited in answers if status == b"503" and waited < 1.0]


def statuses(client: socket.socket, count: int) -> list[bytes]:
    """Read so many answers of one connection."""
    with client.makefile("rb") as stream:
        found = []
        for _ in range(count):
            found.append(stream.readline().split()[1])
            length = 0
            while line := stream.readline().strip():
                if line.startswith(b"Content-Length: "):
                    length = int(line.split()[1])
            stream.read(length)
    return found


def test_what_is_in_flight_is_finished_when_the_service_is_told_to_end(place: Any) -> None:
    with place.inference(INFERENCE_WORKERS="1") as service, ExitStack() as stack:
        service.answers("/ready")
        idle, busy = (stack.enter_context(connect(service)) for _ in range(2))
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        busy.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:10])
        eventually("it is in flight", lambda: "requests_in_flight 2.0" in service.get("/metrics").text)
        ended: list[int] = []
        ending = threading.Thread(target=lambda: ended.append(service.stop()))
        ending.start()
        eventually("nobody new is let in", lambda: not takes_connections(service))
        busy.sendall(BODY[10:])
        received = read_all(busy)
        assert received.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in received
        assert read_all(idle) == b""
        ending.join(60)
    assert ended == [0]
    assert not service.has_left_processes


def takes_connections(service: Service) -> bool:
    try:
        connect(service).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_worker_that_is_killed_loses_no_more_than_what_it_had_in_flight(place: Any) -> None:
    with place.inference(INFERENCE_WORKERS="2") as service:
        service.answers("/ready")
        stop, outcomes = threading.Event(), []

        def ask() -> None:
            while not stop.is_set():
                try:
                    outcomes.append(service.post("/invocations", {"instances": SAMPLES}).status_code)
                except requests.ConnectionError:
                    outcomes.append(0)

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        eventually("they are at it", lambda: len(outcomes) > 100)
        victim = service.workers()[0]
        os.kill(victim, signal.SIGKILL)
        eventually("there are two workers again", lambda: len(set(service.workers()) - {victim}) == 2)
        answered = len(outcomes)
        eventually("they go on", lambda: len(outcomes) > answered + 200)
        stop.set()
        for client in clients:
            client.join()
    assert set(outcomes) <= {0, 200}
    assert outcomes.count(0) <= 4


def test_a_service_that_was_started_is_gone_with_the_process_that_was_started(place: Any) -> None:
    with place.inference() as service:
        service.answers("/ready")
        everybody = service.processes()
        os.kill(everybody[0], signal.SIGKILL)
        eventually("all have ended", lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in everybody[1:]))
