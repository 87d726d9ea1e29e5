"""API keys on a service of two workers: the file is followed by all of them, on connections that are open as well."""

import http.client
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.conftest import Training
from tests.integration.places import CLASSES, ROOT, SAMPLES, Place, Service, eventually

BODY = json.dumps({"instances": SAMPLES})
WORKERS = 2


class Keys:
    """The file of API keys, changed by the script as a person does."""

    def __init__(self, place: Place) -> None:
        self.path, self._place = place.folder / "api-keys", place

    def script(self, *arguments: str) -> str:
        result = self._place.run(str(ROOT / "scripts" / "api-key"), *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()


@pytest.fixture(scope="module")
def place(first: Training, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return first.place.copy(tmp_path_factory.mktemp("keys") / "place")


@pytest.fixture(scope="module")
def keys(place: Place) -> Keys:
    return Keys(place)


@pytest.fixture(scope="module")
def service(place: Place, keys: Keys) -> Iterator[Service]:
    with place.inference(INFERENCE_WORKERS=str(WORKERS), INFERENCE_LOG_RATE="1000") as service:
        service.answers("/ready")
        yield service


class Client:
    """A connection that stays open, and so stays with one worker."""

    def __init__(self, service: Service) -> None:
        self._connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=30)
        self._connection.connect()
        self._connection.auto_open = 0  # one that is closed is a failure

    def status(self, key: str = "", path: str = "/invocations") -> int:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._connection.request("POST", path, BODY, headers)
        answer = self._connection.getresponse()
        content = json.loads(answer.read())
        assert answer.status != 200 or content["predictions"] == CLASSES
        return answer.status

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def clients(service: Service) -> Iterator[list[Client]]:
    """Connections to both workers: which one the kernel chooses for each is not known, so there are many."""
    found = [Client(service) for _ in range(24)]
    yield found
    for client in found:
        client.close()


def all_answer(clients: list[Client], key: str, status: int) -> None:
    """Wait until every connection, of either worker, answers so."""
    eventually(f"{status} by all", lambda: {client.status(key) for client in clients} == {status}, 30)


def told(service: Service, *beginnings: str) -> None:
    """Wait until the log has told of these changes of the keys, in this order and once each."""

    def said() -> list[str]:
        return [line["message"] for line in service.lines if line["message"].startswith("API keys")]

    eventually(beginnings[-1], lambda: len(said()) >= len(beginnings), 30)
    assert [words[: len(beginning)] for words, beginning in zip(said(), beginnings, strict=True)] == list(beginnings)


def test_both_workers_follow_the_file_in_both_directions_on_connections_that_are_open(
    service: Service, keys: Keys, clients: list[Client]
) -> None:
    all_answer(clients, "", 200)
    shop = keys.script("add", "shop")
    all_answer(clients, "", 401)
    all_answer(clients, shop, 200)
    told(service, one := "API keys are on: 1 in force")
    other = keys.script("add", "other", "--scopes", "metrics")
    all_answer(clients, other, 403)
    told(service, one, two := "API keys are on: 2 in force")
    keys.script("revoke", "shop")
    all_answer(clients, shop, 401)
    told(service, one, two, one)
    keys.script("revoke", "other")
    all_answer(clients, other, 503)
    told(service, one, two, one, none := "API keys cannot be checked, so nobody is let in")
    keys.script("off")
    all_answer(clients, "", 200)
    told(service, one, two, one, none, "API keys are off")


def test_a_rate_holds_over_both_workers_together_and_is_told(
    service: Service, keys: Keys, clients: list[Client]
) -> None:
    slow, free = keys.script("add", "slow", "--rate", "0.02"), keys.script("add", "free")
    all_answer(clients, "", 401)
    all_answer(clients, free, 200)
    statuses = [client.status(slow) for client in clients]
    assert 1 <= statuses.count(200) <= WORKERS
    assert set(statuses) == {200, 429}
    assert {client.status(free) for client in clients} == {200}
    refused = requests.post(f"{service.url}/invocations", json={}, headers={"X-API-Key": slow}, timeout=30)
    if refused.status_code == 429:
        assert 1 <= int(refused.headers["Retry-After"]) <= 100


def test_names_are_counted_over_all_workers_and_keys_are_nowhere(
    service: Service, keys: Keys, clients: list[Client], place: Place
) -> None:
    watcher, shop = keys.script("add", "watcher", "--scopes", "metrics"), keys.script("add", "shop")
    all_answer(clients, watcher, 403)

    def counted() -> str | None:
        """Return the figures once they have both; a worker that has not loaded the key yet returns none."""
        answer = requests.get(f"{service.url}/metrics", headers={"X-API-Key": watcher}, timeout=30)
        return answer.text if answer.ok and all(one in answer.text for one in counters) else None

    eventually("all have the key", lambda: {client.status(shop) for client in clients} == {200}, 30)
    counters = [f'inference_key_requests_total{{key="{of}"' for of in ('shop",status="200', 'watcher",status="403')]
    # What another worker than the one that is asked has counted in the last second may be missing there.
    figures = eventually("both are counted", counted)
    assert 'inference_requests_total{endpoint="/invocations"' in figures
    named = [line for line in service.lines if line.get("key") == "shop"]
    assert {(line["status"], line["path"]) for line in named} == {(200, "/invocations")}
    for key in (watcher, shop):
        assert key not in figures + service.log
        assert key not in keys.path.read_text()


def test_requests_in_one_go_are_each_answered_as_their_own_key_is(service: Service, keys: Keys) -> None:
    scopes = {scope: keys.script("add", f"in-one-go-{scope}", "--scopes", scope) for scope in ("predict", "metrics")}
    one = Client(service)
    eventually(
        "the keys are known", lambda: (one.status(scopes["metrics"]), one.status(scopes["predict"])) == (403, 200)
    )
    sent = [scopes["predict"], "", scopes["metrics"], scopes["predict"], "no-such-key", scopes["predict"]]
    heads = [f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n" if key else
             "POST /invocations HTTP/1.1\r\nHost: localhost\r\n" for key in sent]  # fmt: skip
    tail = f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
    connection = one._connection
    connection.sock.sendall("".join(head + tail for head in heads).encode())
    with connection.sock.makefile("rb") as stream:
        statuses = []
        for _ in sent:
            statuses.append(int(stream.readline().split()[1]))
            size = 0
            while (line := stream.readline()) != b"\r\n":
                size = int(line.split(b":")[1]) if line.lower().startswith(b"content-length") else size
            stream.read(size)
    assert statuses == [200, 401, 403, 200, 401, 200]
    one.close()


def predictions(service: Service) -> Any:
    return service.post("/invocations", {"instances": SAMPLES}).json().get("predictions")


def test_a_service_that_starts_with_a_file_it_cannot_use_is_alive_and_not_ready(place: Place, tmp_path: Path) -> None:
    bad = tmp_path / "api-keys"
    bad.write_text("mlstack_a-key-that-somebody-pasted\n")
    with place.inference(API_KEYS_FILE=str(bad)) as service:
        service.answers("/health")
        eventually("it says why", lambda: "line 1 is no key" in service.get("/ready").text)
        assert service.get("/ready").status_code == 503
        eventually("the log does", lambda: any("line 1 is no key" in line["message"] for line in service.lines))
        assert service.post("/invocations", {"instances": SAMPLES}).status_code == 503
        bad.write_text("off\n")
        # Of two workers one may have looked already: any number of answers in a row may be of that one.
        eventually("it predicts", lambda: all(predictions(service) == CLASSES for _ in range(9)))
        assert "pasted" not in service.log


def test_keys_that_are_added_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    environ = {"API_KEYS_FILE": str(tmp_path / "api-keys"), "PATH": "/usr/bin:/bin"}
    script, results = str(ROOT / "scripts" / "api-key"), []

    def add(number: int) -> None:
        command = [script, "add", f"key-{number}"]
        results.append(subprocess.run(command, env=environ, capture_output=True, text=True))

    threads: list[Any] = [threading.Thread(target=add, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results] == [0] * 6, [result.stderr for result in results]
    listed = subprocess.run([script, "list"], env=environ, capture_output=True, text=True, check=True).stdout
    assert [f"key-{number}" in listed for number in range(6)] == [True] * 6
