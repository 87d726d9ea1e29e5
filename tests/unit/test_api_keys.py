"""API keys: who is let in to what, how the file is followed, and what the command does with it."""

import base64
import gc
import json
import math
import os
import resource
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from inference.api_keys import command, key_file
from inference.api_keys.keyring import Keyring
from inference.errors import TooManyRequests
from inference.settings import Settings
from inference.telemetry.log import RequestLog
from openapi_spec_validator import OpenAPIV31SpecValidator
from werkzeug.test import Client, TestResponse

from tests.unit.serving import DESCRIPTION, SERVED, WsgiService, answering, served_as, service_of

INFER = "/v2/models/iris_logistic_regression/infer"
TENSORS = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}
PREDICTING = {"/invocations": {"instances": [[1, 2]]}, "/predict_names": {"instances": [[1, 2]]}, INFER: TENSORS}
DESCRIBING = ["/", "/version", "/model-card", "/openapi.json", "/v2", "/v2/models/iris_logistic_regression", "/nothing"]
OPEN = ["/health", "/ping", "/ready", "/v2/health/live", "/v2/health/ready", "/page/page.js", "/page/page.css"]
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class KeyFile:
    """A file of API keys, and what makes keys in it as the command does."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.cache, self._capsys = folder / "keys" / "api-keys", folder / "cache", capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, output and errors of the command."""
        self._capsys.readouterr()
        code = command.main(list(arguments))
        return code, *self._capsys.readouterr()

    def add(self, name: str, *options: str) -> str:
        """Return a new key."""
        code, key, _ = self.run("add", name, *options)
        assert code == 0
        return key.strip()


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> KeyFile:
    found = KeyFile(tmp_path, capsys)
    monkeypatch.setenv("API_KEYS_FILE", str(found.path))
    return found


def settings_of(keys: KeyFile, **more: Any) -> Settings:
    return Settings(api_keys_file=keys.path, cache_dir=keys.cache, workers=1, **more)


def serving(keys: KeyFile, log: RequestLog | None = None, served: Any = SERVED) -> WsgiService:
    return service_of(served, settings=settings_of(keys), log=log)


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def predicted(service: WsgiService, key: str | None = None, path: str = "/invocations") -> TestResponse:
    return Client(service).post(path, json=PREDICTING[path], headers=bearing(key) if key else {})


def assert_refused(answer: TestResponse, status: int, error_code: str, *said: str) -> None:
    content: Any = answer.json
    assert (answer.status_code, content["error_code"]) == (status, error_code)
    assert all(words in content["message"] for words in said), content
    assert set(content) <= {"error_code", "message", "error"}


# --- who is let in -------------------------------------------------------------------------------------------------


def test_without_a_file_nothing_asks_for_a_key_and_one_that_is_sent_does_no_harm(keys: KeyFile) -> None:
    service = serving(keys)
    assert predicted(service).status_code == predicted(service, "whatever").status_code == 200
    assert Client(service).get("/ready").json["status"] == "ready"


@pytest.mark.parametrize("path", PREDICTING)
def test_a_prediction_asks_for_a_key_in_every_protocol(keys: KeyFile, path: str) -> None:
    key = keys.add("shop")
    service = serving(keys)
    for answer in (predicted(service, None, path), predicted(service, f"{key}x", path)):
        assert_refused(answer, 401, "UNAUTHENTICATED", "Authorization: Bearer KEY")
        assert answer.headers.getlist("WWW-Authenticate") == ["Bearer"]
        assert ("error" in answer.json) == path.startswith("/v2")
    assert predicted(service, key, path).status_code == 200


@pytest.mark.parametrize("path", DESCRIBING)
def test_what_describes_the_model_asks_for_a_key_too(keys: KeyFile, path: str) -> None:
    key = keys.add("shop")
    client = Client(serving(keys))
    for spelled in (path, f"{path}/"):
        assert_refused(client.get(spelled), 401, "UNAUTHENTICATED")
    assert client.get(path, headers=bearing(key)).status_code == (404 if path == "/nothing" else 200)


@pytest.mark.parametrize("path", OPEN)
def test_health_and_the_files_of_the_page_stay_open(keys: KeyFile, path: str) -> None:
    keys.add("shop")
    assert Client(serving(keys)).get(path).status_code == 200


def test_a_key_may_come_as_bearer_as_a_header_of_its_own_or_as_the_password_of_a_login(keys: KeyFile) -> None:
    key = keys.add("shop")
    client = Client(serving(keys))
    login = base64.b64encode(f"anybody:{key}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer   {key} "},
        {"X-API-Key": key},
        {"X-API-Key": key, "Authorization": "Basic of-a-proxy-in-front"},
        {"Authorization": f"Basic {login}"},
    ):
        assert client.get("/version", headers=headers).status_code == 200, headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "{}"},
        {"Authorization": "Digest {}"},
        {"Authorization": "Bearer {} {}"},
        {"Authorization": "Bearer ü"},
        {"Authorization": "Basic {}"},
        {"Authorization": "Basic ="},
        {"Authorization": "Basic " + "YTpi" * 2000},
        {"Authorization": "Bearer " + "x" * 8000},
        {"X-API-Key": ""},
        {"X-API-Key": "other", "Authorization": "Bearer {}"},
    ],
    ids=lambda headers: repr(headers)[:50],
)
def test_what_is_no_key_is_a_401_and_no_fault(keys: KeyFile, headers: dict[str, str]) -> None:
    key = keys.add("shop")
    sent = {name: value.replace("{}", key) for name, value in headers.items()}
    answer = Client(serving(keys)).post("/invocations", json={"instances": [[1, 2]]}, headers=sent)
    assert_refused(answer, 401, "UNAUTHENTICATED")


def test_a_key_lets_in_to_what_its_scopes_say(keys: KeyFile) -> None:
    service = serving(keys)
    scopes = {name: keys.add(name, "--scopes", name) for name in key_file.SCOPES}
    service.look_around()
    assert predicted(service, scopes["predict"]).status_code == 200
    for name in ("labels", "metrics"):
        assert_refused(predicted(service, scopes[name]), 403, "PERMISSION_DENIED", "predict", name)
    for path in ("/metrics", "/status"):
        refused = Client(service).get(path, headers=bearing(scopes["predict"]))
        assert_refused(refused, 403, "PERMISSION_DENIED", "has not the scope metrics")
    assert_refused(Client(service).get("/metrics/"), 401, "UNAUTHENTICATED")
    Keyring(keys.path, keys.cache).identify({"HTTP_X_API_KEY": scopes["metrics"]}).allow(key_file.METRICS)


def test_a_browser_that_opens_the_page_is_asked_for_a_login_and_the_pages_script_is_not(keys: KeyFile) -> None:
    key = keys.add("shop")
    client = Client(serving(keys))
    asked = client.get("/", headers=PAGE)
    assert asked.status_code == 401
    assert asked.headers.getlist("WWW-Authenticate")[1].startswith("Basic realm=")
    assert client.post("/invocations", json={}, headers={"Accept": "*/*"}).headers["WWW-Authenticate"] == "Bearer"
    login = {"Authorization": f"Basic {base64.b64encode(f':{key}'.encode()).decode()}"}
    page = client.get("/", headers=PAGE | login)
    assert page.status_code == 200
    assert '"asksForKey": true' in page.text
    assert key not in page.text


def test_a_page_of_another_origin_may_send_a_key_and_its_preflight_needs_none(keys: KeyFile) -> None:
    keys.add("shop")
    settings = settings_of(keys, cors_origins=frozenset({"https://app.example.com"}))
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    for path in ("/invocations", "/version"):
        answer = Client(service_of(SERVED, settings=settings)).options(path, headers=asked)
        assert answer.status_code in (200, 204)
        assert "Authorization, X-API-Key" in answer.headers["Access-Control-Allow-Headers"]


def test_the_description_of_the_api_says_how_a_key_is_sent_where_keys_are_on(keys: KeyFile) -> None:
    service = serving(keys)
    assert "securitySchemes" not in Client(service).get("/openapi.json").json["components"]
    key = keys.add("shop")
    service.look_around()
    found: Any = Client(service).get("/openapi.json", headers=bearing(key)).json
    OpenAPIV31SpecValidator(found).validate()
    assert set(found["components"]["securitySchemes"]) == {"bearer", "header", "login"}
    assert {"401", "403", "429"} <= set(found["paths"]["/invocations"]["post"]["responses"])
    is_open = {path for path, item in found["paths"].items() if item.get("get", {}).get("security") == []}
    assert is_open == set(OPEN[:5])
    assert "security" not in found["paths"]["/explain"]["post"]


# --- rates ---------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def asked(ring: Keyring, key: str, times: int = 1) -> list[int]:
    """Return how many of so many requests are let in, and when the others may come again."""
    let_in, later = 0, []
    for _ in range(times):
        try:
            ring.identify({"HTTP_X_API_KEY": key, "REQUEST_METHOD": "POST"}).allow(key_file.PREDICT)
            let_in += 1
        except TooManyRequests as error:
            later.append(error.retry_after)
    return [let_in, *sorted(set(later))]


def test_a_keys_rate_is_divided_among_the_workers_and_no_other_keys_concern(keys: KeyFile) -> None:
    fast, slow, free = keys.add("fast", "--rate", "10"), keys.add("slow", "--rate", "0.1"), keys.add("free")
    clock = Clock()
    ring = Keyring(keys.path, keys.cache, 2, clock)
    assert asked(ring, fast, 20) == [5, 1]
    assert asked(ring, slow, 20) == [1, 20]
    assert asked(ring, free, 1000) == [1000]
    clock.seconds += 0.5
    assert asked(ring, fast, 20) == [2, 1]


def test_a_change_of_the_file_gives_no_key_its_rate_anew(keys: KeyFile) -> None:
    clock, key = Clock(), keys.add("shop", "--rate", "4")
    ring = Keyring(keys.path, keys.cache, 1, clock)
    assert asked(ring, key, 9) == [4, 1]
    keys.add("other")
    assert ring.look()
    assert asked(ring, key) == [0, 1]


def test_a_request_too_many_is_told_when_to_come_again(keys: KeyFile) -> None:
    key = keys.add("shop", "--rate", "0.01")
    service = serving(keys)
    assert predicted(service, key).status_code == 200
    for path in PREDICTING:
        answer = predicted(service, key, path)
        assert_refused(answer, 429, "REQUEST_LIMIT_EXCEEDED", "'shop'", "0.01 requests a second")
        assert 90 < int(answer.headers["Retry-After"]) <= 100


# --- the file ------------------------------------------------------------------------------------------------------


def test_the_file_is_followed_when_it_is_made_later_replaced_revoked_from_and_turned_off(keys: KeyFile) -> None:
    service = serving(keys)

    def statuses(*sent: str | None) -> list[int]:
        service.look_around()
        return [predicted(service, key).status_code for key in sent]

    assert statuses(None) == [200]
    first = keys.add("first")
    assert statuses(None, first) == [401, 200]
    second = keys.add("second")
    assert statuses(first, second) == [200, 200]
    keys.run("revoke", "first")
    assert statuses(first, second) == [401, 200]
    keys.run("off")
    assert statuses(None, first) == [200, 200]
    keys.add("third")
    assert statuses(None, second) == [401, 401]
    keys.run("off")
    assert statuses(None) == [200]
    keys.path.unlink()
    assert statuses(None) == [200]
    assert predicted(serving(keys)).status_code == 200


def made(name: str, scopes: str = "predict", rate: str = "-", day: str = "2026-11-26") -> bytes:
    return f"{sha256(name.encode()).hexdigest()} {name} {scopes} {rate} {day}\n".encode()


BAD = {
    "empty": (b"", "there is no key in it"),
    "remarks alone": (b"# nothing\n\n", "there is no key in it"),
    "a key itself": (made("one") + b"mlstack_secret\n", "line 2 is no key"),
    "cut off": (made("one")[:40], "line 1 is no key"),
    "no such scope": (made("one", "predict,everything"), "line 1 is no key"),
    "a rate of nothing": (made("one", rate="0"), "line 1 is no key"),
    "a rate that is none": (made("one", rate="nan"), "line 1 is no key"),
    "no day": (made("one", day="today"), "line 1 is no key"),
    "the same twice": (made("one") + made("two") + made("one"), "line 3 has a key, or a name, that stands above"),
    "bytes": (b"\xff\xfe\x00" * 50, "line 1 is no key"),
    "too much": (b"#" * (key_file.MOST_BYTES + 1), "over the limit"),
    "off and a key": (b"off\n" + made("one"), "line 1 is no key"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("is_at_start", [True, False], ids=["at start", "later"])
def test_a_file_that_cannot_be_used_lets_nobody_in_and_ready_says_why(
    keys: KeyFile, what: str, is_at_start: bool
) -> None:
    key = keys.add("shop")
    service = None if is_at_start else serving(keys)
    content, reason = BAD[what]
    keys.path.write_bytes(content)
    service = service or serving(keys)
    service.look_around()
    for answer in (predicted(service, key), predicted(service), Client(service).get("/metrics")):
        assert_refused(answer, 503, "TEMPORARILY_UNAVAILABLE", "GET /ready says why")
    client = Client(service)
    assert client.get("/health").status_code == 200
    assert (client.get("/v2/health/ready").status_code, client.get("/ready").status_code) == (503, 503)
    (said,) = client.get("/ready").json["reasons"]
    assert "nobody is let in" in said
    assert reason in said
    assert "secret" not in said


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a link to itself", "gone", "gone with its folder"])
def test_a_file_that_is_lost_or_is_none_lets_nobody_in_until_it_is_mended(keys: KeyFile, what: str) -> None:
    key = keys.add("shop")
    service, content = serving(keys), keys.path.read_bytes()
    keys.path.unlink()
    if what == "a folder":
        keys.path.mkdir()
    elif what == "a pipe":
        os.mkfifo(keys.path)
    elif what == "a link to itself":
        keys.path.symlink_to(keys.path.name)
    elif what == "gone with its folder":
        keys.path.parent.rmdir()
    service.look_around()
    assert predicted(service, key).status_code == predicted(service).status_code == 503
    if keys.path.is_dir():
        keys.path.rmdir()
    keys.path.unlink(missing_ok=True)
    service.look_around()
    for one in (service, serving(keys)):  # … also where the service is started anew
        assert predicted(one).status_code == 503, "a file that is gone opens nothing"
    keys.path.parent.mkdir(exist_ok=True)
    keys.path.write_bytes(content)
    service.look_around()
    assert [predicted(service, key).status_code, predicted(service).status_code] == [200, 401]


@pytest.mark.parametrize("is_on", [True, False])
def test_a_worker_that_can_open_no_file_goes_on_with_what_it_knows(keys: KeyFile, is_on: bool) -> None:
    key = keys.add("shop") if is_on else None
    service, limits = serving(keys), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        service.look_around()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert predicted(service, key).status_code == 200
    assert predicted(service).status_code == (401 if is_on else 200)


def test_revoking_the_last_key_lets_nobody_in(keys: KeyFile) -> None:
    key = keys.add("shop")
    service = serving(keys)
    _, said, _ = keys.run("revoke", "shop")
    assert "nobody is let in now" in said
    service.look_around()
    for one in (service, serving(keys)):  # … also where the service is started anew
        assert predicted(one, key).status_code == predicted(one).status_code == 503


# --- what is kept, and what is told --------------------------------------------------------------------------------


class Pipe:
    """Where lines of the log are written to."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()

    def text(self) -> str:
        os.close(self.write)
        with os.fdopen(self._read) as stream:
            return stream.read()


class Broken:
    def predict(self, frame: Any) -> None:
        raise RuntimeError("it does not work")


def test_the_log_and_the_counts_have_the_name_and_nothing_has_the_key(
    keys: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    key, pipe = keys.add("shop", "--rate", "0.01"), Pipe()
    other = keys.add("other", "--scopes", "metrics")
    service = serving(keys, RequestLog(1000, pipe.write), served_as(answering(Broken(), DESCRIPTION)))
    service.telemetry.metrics._due = math.inf  # what is counted stays to be looked at
    answers = [predicted(service, sent) for sent in (key, key, other, f"{key}x", None)]
    statuses = [500, 429, 403, 401, 401]
    assert [answer.status_code for answer in answers] == statuses
    text = pipe.text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line.get("key") for line in lines] == ["shop", "shop", "other", None, None]
    assert service.telemetry.metrics._keys == {("shop", "500"): 1, ("shop", "429"): 1, ("other", "403"): 1}
    assert "it does not work" in caplog.text
    told = text + caplog.text + "".join(f"{answer.text}{answer.headers}" for answer in answers)
    assert key not in told
    assert other not in told
    assert sha256(key.encode()).hexdigest() not in told


def test_what_answers_a_request_does_not_see_its_key(keys: KeyFile) -> None:
    environ = {"HTTP_AUTHORIZATION": f"Bearer {keys.add('shop')}", "HTTP_X_REQUEST_ID": "1"}
    assert Keyring(keys.path, keys.cache).identify(environ).key.name == "shop"
    assert environ == {"HTTP_X_REQUEST_ID": "1"}


def test_ten_thousand_keys_that_are_none_leave_nothing(keys: KeyFile) -> None:
    keys.add("shop")
    service = serving(keys)

    def ask(first: int) -> int:
        for number in range(first, first + 5000):
            headers = {"HTTP_AUTHORIZATION": f"Bearer mlstack_{number}", "REMOTE_ADDR": "127.0.0.1"}
            environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/invocations", **headers}
            assert service.answer(service.begin(environ)).status == 401
        gc.collect()
        return len(gc.get_objects())

    assert abs(ask(5000) - ask(0)) < 100


# --- the command ---------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_the_file_has_its_digest_for_its_owner_alone(keys: KeyFile) -> None:
    code, key, said = keys.run("add", "shop", "--scopes", "predict,metrics", "--rate", "2.5")
    assert code == 0
    assert "It is shown this once" in said
    assert len(key.strip()) > 43
    content = keys.path.read_text()
    assert key.strip() not in content
    assert sha256(key.strip().encode()).hexdigest() in content
    assert keys.path.stat().st_mode & 0o777 == 0o600
    _, listed, _ = keys.run("list")
    assert listed.splitlines()[1].split()[:3] == ["shop", "metrics,predict", "2.5"]
    assert key.strip() not in listed


def test_two_keys_are_never_alike(keys: KeyFile) -> None:
    assert len({keys.add(f"key-{number}") for number in range(20)}) == 20


@pytest.mark.parametrize(
    "name", ["", "a b", "a\nb", "../x", "-x", ".x", "grün", "a,b", "x" * 64, "a\x1b[2J", "#", "a\tb", "a/b", "'"]
)
def test_a_name_that_log_file_or_shell_could_misread_is_refused(keys: KeyFile, name: str) -> None:
    code, out, said = keys.run("add", "--", name)
    assert (code, out) == (1, "")
    assert "expected letters, digits" in said
    assert "\x1b" not in said
    assert not keys.path.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scopes", "predict,all"], "expected some of predict,labels,metrics"),
        (["--scopes", ""], "expected some of"),
        (["--rate", "0"], "expected requests a second"),
        (["--rate", "1e9"], "expected requests a second"),
        (["--rate", "ten"], "expected requests a second"),
    ],
)
def test_an_option_that_cannot_be_used_is_told_and_nothing_is_written(
    keys: KeyFile, options: list[str], said: str
) -> None:
    code, out, err = keys.run("add", "shop", *options)
    assert (code, out) == (1, "")
    assert said in err
    assert not keys.path.exists()


def test_a_name_is_given_once_and_one_that_is_not_there_is_not_revoked(keys: KeyFile) -> None:
    keys.add("shop")
    before = keys.path.read_bytes()
    assert keys.run("add", "shop")[0] == 1
    code, _, said = keys.run("revoke", "shpo")
    assert (code, keys.path.read_bytes()) == (1, before)
    assert "there are: shop" in said


@pytest.mark.parametrize("arguments", [["add", "other"], ["revoke", "one"], ["list"]], ids=lambda words: words[0])
def test_a_file_with_a_bad_line_is_not_written_over(keys: KeyFile, arguments: list[str]) -> None:
    keys.path.parent.mkdir()
    keys.path.write_bytes(content := made("one") + b"mlstack_secret\n")
    code, out, said = keys.run(*arguments)
    assert (code, out, keys.path.read_bytes()) == (1, "", content)
    assert "line 2 is no key" in said
    assert "secret" not in said


def test_a_folder_that_cannot_be_written_is_told_in_a_line(keys: KeyFile) -> None:
    keys.path.parent.write_text("a file")
    code, out, said = keys.run("add", "shop")
    assert (code, out) == (1, "")
    assert said.startswith(f"api-key: {keys.path} cannot be written:")


def test_what_is_written_is_read_again_as_it_was(keys: KeyFile) -> None:
    for rate in ("-", "0.001", "0.1", "3", "1000000"):
        keys.add(f"rate{rate}", "--rate", rate, "--scopes", "metrics,labels")
    found = key_file.parsed(keys.path.read_bytes())
    assert key_file.parsed(key_file.written(found or [])) == found
    assert [key.rate for key in found or []] == [None, 0.001, 0.1, 3.0, 1000000.0]


def test_each_change_of_a_key_is_a_line_of_the_audit_log_without_the_key(
    keys: KeyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "audit.jsonl"
    monkeypatch.setenv("AUDIT_FILE", str(log))
    monkeypatch.setenv("AUDIT_WHO", "alice")
    key = keys.add("shop", "--scopes", "predict,metrics", "--rate", "5")
    assert keys.run("revoke", "nobody")[0] == 1
    keys.run("revoke", "shop")
    keys.run("off")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [tuple(line[name] for name in ("who", "what", "of", "from", "to", "by")) for line in lines] == [
        ("alice", "key", "shop", None, "metrics,predict 5", "api-key add"),
        ("alice", "key", "shop", "in force", None, "api-key revoke"),
        ("alice", "key", "all", "in force", None, "api-key off"),
    ]
    assert key not in log.read_text()
