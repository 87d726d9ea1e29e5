"""The HTTP face of the service: what each path answers, with a fake estimator as the model."""

import gzip
import json
import os
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from inference.errors import Forbidden, MethodNotAllowed, RequestEntityTooLarge, UnsupportedMediaType
from inference.http.application import Service
from inference.ipc.messages import Attempt, State
from inference.model.version import ModelVersion
from inference.request.allowed_hosts import AllowedHosts, own_addresses
from inference.request.answer import Answer, reason_of
from inference.request.checks import incomplete_body
from inference.settings import Settings
from inference.telemetry.log import RequestLog
from werkzeug.test import Client, EnvironBuilder

from tests.unit.serving import (
    DESCRIPTION,
    MODEL,
    SERVED,
    VERSION,
    FakeEstimator,
    answering,
    client_of,
    served_as,
    service_of,
)

COLUMNS = ["length", "width"]
TENSORS = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]})
PREDICTING = ["/invocations", "/predict_names", "/v2/models/iris_logistic_regression/infer"]
NOTHING_THERE = "no version of 'iris_logistic_regression' has the alias 'Production' yet"


def body_for(path: str) -> bytes:
    return TENSORS.encode() if path == PREDICTING[2] else b'{"instances": [[1, 2]]}'


class BrokenEstimator:
    def predict(self, frame: Any) -> None:
        raise RuntimeError("the secret reason")


SMALL = Settings(max_body_bytes=1024)


@pytest.fixture(scope="module")
def client() -> Client:
    return client_of(SERVED, settings=SMALL)


@pytest.fixture(scope="module")
def waiting() -> Client:
    """A client of a service that has no model yet."""
    return client_of(None, NOTHING_THERE)


def assert_is_error(answer: Any, status: int, error_code: str, *said: str) -> None:
    assert answer.status_code == status
    assert answer.is_json
    assert answer.json["error_code"] == error_code
    for words in said:
        assert words in answer.json["message"]
    assert "Traceback" not in answer.text


# --- what it tells of itself ---------------------------------------------------------------------------------------


def test_the_front_page_lists_every_endpoint_that_answers(client: Client) -> None:
    endpoints = client.get("/").json["endpoints"]
    assert len(endpoints) == 12
    for endpoint in endpoints:
        for one in endpoint.replace(" …", "").split(", "):
            method, path = one.split()
            if path in ("/metrics", "/status"):
                continue  # of several processes: test_metrics.py
            body = {"instances": [[1, 2]]}
            if "NAME" in path:
                path = path.replace("NAME", VERSION.name)
                body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}  # type: ignore[list-item]
            answer = client.open(path, method=method, json=body if method == "POST" else None)
            assert answer.status_code == 200, (path, answer.text)


def test_the_front_page_names_the_model(client: Client) -> None:
    assert client.get("/").json["model"]["version"] == "7"


def test_a_browser_gets_a_page_that_loads_nothing_from_elsewhere(client: Client) -> None:
    answer = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Vary"] == "Accept"
    assert not re.search(r"""(src|href)=["'](https?:)?//""", answer.text)
    for path in re.findall(r"""(?:src|href)=["'](/page/[^"']+)""", answer.text):
        assert client.get(path).status_code == 200


def test_of_a_long_accept_the_beginning_counts(client: Client) -> None:
    padding = "a/b;q=0.5," * 6000
    assert client.get("/", headers={"Accept": f"text/html,{padding}"}).mimetype == "text/html"
    assert client.get("/", headers={"Accept": f"{padding}text/html"}).mimetype == "application/json"


LONG = {
    "Accept": "a/b;q=0.5,",
    "Accept-Language": "de;q=0.5,",
    "Cookie": "a=b;",
    "Cache-Control": "a=b,",
    "Content-Type": "a/b;a=b;",
    "If-Match": '"a",',
    "If-None-Match": '"a",',
    "If-Range": '"a",',
    "If-Modified-Since": "Wed, ",
    "If-Unmodified-Since": "(",
    "Range": "0-1,",
    "X-Forwarded-For": "a,",
}


def calls(client: Client, path: str, headers: dict[str, str]) -> int:
    """Return how many functions are called to answer."""
    count = 0

    def note(frame: Any, event: str, function: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    environ = EnvironBuilder(path, headers=headers).get_environ()  # type: ignore[arg-type]
    sys.setprofile(note)
    try:
        client.run_wsgi_app(environ)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("path", ["/", "/page/page.css", "/ready", "/openapi.json", "/nothing", "/v2/models/x"])
def test_no_header_makes_an_answer_cost_more_than_its_bytes(client: Client, path: str) -> None:
    calls(client, path, {})
    least = calls(client, path, {})
    for name, piece in LONG.items():
        assert calls(client, path, {name: piece * (60_000 // len(piece))}) < least + 1500, name


def test_a_page_without_a_model_says_why(waiting: Client) -> None:
    answer = waiting.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "has the alias" in answer.text


def test_no_file_but_the_pages_own_is_handed_out(client: Client) -> None:
    for name in ("index.html", "..%2Fapp.py", "nothing.js"):
        assert client.get(f"/page/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/", "/health", "/ping", "/version", "/openapi.json", "/v2", "/v2/health/live"])
def test_a_service_without_a_model_still_tells_of_itself(waiting: Client, path: str) -> None:
    assert waiting.get(path).status_code == 200


def test_an_example_with_a_whole_number_beyond_64_bits_is_described_all_the_same() -> None:
    description = replace(SERVED.model.description, examples=[[10**30, 1.0]])
    client = client_of(replace(SERVED, model=replace(SERVED.model, description=description)))
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert str(10**30) in answer.text


def test_a_service_without_a_model_is_alive_but_not_ready_and_says_why(waiting: Client) -> None:
    assert waiting.get("/health").json == {"status": "alive"}
    assert waiting.get("/ping").json == {"status": "alive"}
    answer = waiting.get("/ready")
    assert answer.status_code == 503
    assert answer.json == {"status": "not ready", "reasons": [NOTHING_THERE]}


def test_a_service_with_a_model_is_ready(client: Client) -> None:
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json["status"] == "ready"
    assert answer.json["model"]["version"] == "7"


def test_the_version_says_what_is_served_since_when_and_by_what(client: Client) -> None:
    said = client.get("/version").json
    assert said["model"] == {
        "name": "iris_logistic_regression",
        "version": "7",
        "alias": "Production",
        "run_id": "run-of-7",
        "columns": COLUMNS,
        "since": "2026-01-02T03:04:05+00:00",
        "engine": {"name": "scikit-learn", "reason": "no ONNX engine: it is a test's"},
        "stale": False,
        "problem": None,
    }
    assert said["python"]
    assert said["scikit-learn"]


def test_a_model_that_may_be_out_of_date_is_served_and_marked_as_stale() -> None:
    client = client_of(SERVED, "MLflow at http://mlflow:5000 does not answer")
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json["model"]["stale"] is True
    assert answer.json["model"]["problem"] == "MLflow at http://mlflow:5000 does not answer"
    assert client.post("/invocations", json={"instances": [[1, 2]]}).json == {"predictions": [0]}


# --- predictions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PREDICTING)
def test_a_prediction_without_a_model_is_to_be_tried_again(waiting: Client, path: str) -> None:
    answer = waiting.post(path, json={"instances": [[1, 2]]})
    assert_is_error(answer, 503, "TEMPORARILY_UNAVAILABLE", "no model is served yet", "has the alias 'Production' yet")
    assert int(answer.headers["Retry-After"]) > 0


def test_lists_are_predicted_in_their_order(client: Client) -> None:
    answer = client.post("/invocations", json={"instances": [[1, 2], [2, 1], [1, 2]]})
    assert answer.status_code == 200
    assert answer.json == {"predictions": [0, 1, 0]}


def test_records_are_predicted_like_the_lists_that_they_stand_for(client: Client) -> None:
    records = [{"width": 2, "length": 1}, {"length": 2, "width": 1}]
    assert client.post("/invocations", json={"instances": records}).json == {"predictions": [0, 1]}


def test_predicted_names_come_with_the_probability_of_each_class(client: Client) -> None:
    answer = client.post("/predict_names", json={"instances": [[1, 2], [2, 1]]})
    assert answer.status_code == 200
    assert answer.json == {
        "predictions": ["short", "long"],
        "probabilities": [{"short": 0.9, "long": 0.1}, {"short": 0.1, "long": 0.9}],
    }


def test_a_model_without_class_names_answers_with_its_labels() -> None:
    client = client_of(served_as(answering(FakeEstimator(), replace(DESCRIPTION, class_names=None))))
    answer = client.post("/predict_names", json={"instances": [[2, 1]]})
    assert answer.json == {"predictions": ["1"], "probabilities": [{"0": 0.1, "1": 0.9}]}


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/invocations", "/predict_names"])
def test_a_row_that_the_model_cannot_take_is_a_400_that_points_at_it(client: Client, path: str) -> None:
    answer = client.post(path, json={"instances": [[1, 2], [1, "2"]]})
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", "instances[1][1] is text")
    assert answer.json["where"] == "instances[1][1]"


def test_a_fault_of_the_whole_body_points_nowhere(client: Client) -> None:
    answer = client.post("/invocations", json={})
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", "the body has none of 'instances'")
    assert "where" not in answer.json


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"instances": [[1, 2]]', b"\xff\xfe", b"1 2", b"not JSON"], ids=lambda body: repr(body)
)
def test_a_body_that_is_no_json_is_a_400_that_says_so(client: Client, body: bytes) -> None:
    answer = client.post("/invocations", data=body, content_type="application/json")
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", "the body is not JSON")


@pytest.mark.parametrize("path", PREDICTING)
def test_a_body_that_is_nested_too_deep_is_a_400(path: str) -> None:
    answer = client_of(SERVED).post(path, data=b"[" * 200_000, content_type="application/json")
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", "nested too deep")


@pytest.mark.parametrize(
    "path", ["/predict", "/invocations//", "/v2/models/a/b/infer", "/page", "/v2//models/x", "/page//page.css"]
)
def test_an_unknown_path_is_a_404_that_says_where_to_look(client: Client, path: str) -> None:
    answer = client.get(path)
    assert_is_error(answer, 404, "RESOURCE_DOES_NOT_EXIST", f"there is no {path}", "GET / lists what there is")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", path, "POST") for path in PREDICTING] + [("POST", "/ready", "GET"), ("DELETE", "/", "GET")],
)
def test_the_wrong_method_is_a_405_that_names_the_right_one(
    client: Client, method: str, path: str, allowed: str
) -> None:
    answer = client.open(path, method=method)
    assert_is_error(answer, 405, "METHOD_NOT_ALLOWED")
    assert allowed in answer.headers["Allow"]


@pytest.mark.parametrize("path", PREDICTING)
def test_a_slash_behind_a_path_makes_no_difference_to_a_prediction(client: Client, path: str) -> None:
    body = body_for(path)
    plain, answer = (client.post(found, data=body, content_type="application/json") for found in (path, path + "/"))
    assert (answer.status_code, answer.data) == (200, plain.data)
    assert_is_error(client.get(path + "/"), 405, "METHOD_NOT_ALLOWED")
    assert_is_error(client.post(path + "//", data=body), 404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    "path", ["/health", "/ping", "/ready", "/version", "/openapi.json", "/v2", f"/v2/models/{VERSION.name}"]
)
def test_a_slash_behind_a_path_makes_no_difference_to_what_is_looked_at(client: Client, path: str) -> None:
    answer = client.get(path + "/")
    assert (answer.status_code, answer.data) == (200, client.get(path).data)


@pytest.mark.parametrize("path", [*PREDICTING, "/ready"])
def test_what_a_path_takes_can_be_asked(client: Client, path: str) -> None:
    answer = client.open(path, method="OPTIONS")
    assert answer.status_code in (200, 204)
    assert "OPTIONS" in answer.headers["Allow"]


def test_a_body_over_the_limit_is_a_413_that_names_the_limit(client: Client) -> None:
    answer = client.post("/invocations", json={"instances": [[1, 2]] * 1000})
    assert_is_error(answer, 413, "REQUEST_ENTITY_TOO_LARGE", "over the limit of 1024 bytes", "send fewer rows")


def environ_of(**environ: Any) -> dict[str, Any]:
    made = EnvironBuilder("/invocations", method="POST", content_type="application/json").get_environ()
    return made | environ


def wants_body(service: Service, **environ: Any) -> bool:
    return service.wants_body(service.begin(environ_of(**environ)))


@pytest.mark.parametrize(
    ("environ", "error"),
    [
        ({"CONTENT_LENGTH": "1025"}, RequestEntityTooLarge),
        ({"CONTENT_LENGTH": "9" * 19}, RequestEntityTooLarge),
        ({"HTTP_CONTENT_ENCODING": "br"}, UnsupportedMediaType),
        ({"REQUEST_METHOD": "PUT"}, MethodNotAllowed),
        ({"HTTP_HOST": "evil.example"}, Forbidden),
    ],
)
def test_a_body_that_is_refused_whatever_it_is_is_known_before_it_comes(
    environ: dict[str, str], error: type[Any]
) -> None:
    with pytest.raises(error):
        wants_body(service_of(SERVED, settings=SMALL), **environ)


def test_a_body_is_wanted_where_something_is_predicted_and_nowhere_else() -> None:
    service = service_of(SERVED)
    assert wants_body(service)
    assert not wants_body(service, PATH_INFO="/health")
    assert not wants_body(service, REQUEST_METHOD="OPTIONS")


def test_a_body_in_chunks_is_held_against_the_limit_as_well() -> None:
    checks = service_of(SERVED, settings=SMALL).checks
    checks.check_size(1024)
    with pytest.raises(RequestEntityTooLarge, match="over the limit of 1024 bytes"):
        checks.check_size(1025)


def test_a_request_whose_model_is_stopped_while_its_body_comes_is_told_so() -> None:
    service = service_of(SERVED)
    context = service.begin(environ_of())
    assert service.wants_body(context)
    service._deployments.first.served = None
    context.body = b'{"instances": [[1, 2]]}'
    answer = service.answer(context)
    assert (answer.status, answer.error_code) == (503, "TEMPORARILY_UNAVAILABLE")
    assert b"no model is served" in answer.body


def test_what_a_body_lacks_is_told() -> None:
    late = ", or took longer than 30 s"
    for said, (seen, size, reason) in {
        f"the body ends after 23 of the 28 bytes it is said to have{late}": (23, 28, ""),
        f"the body ends after 23 bytes, in the middle of a chunk{late}": (23, -1, ""),
        "the body could not be read to its end: no chunk": (23, -1, "no chunk"),
    }.items():
        assert str(incomplete_body(seen, size, reason, 30)) == said


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", None])
def test_a_body_that_is_not_declared_as_something_that_is_read_is_a_415_that_says_how(
    client: Client, content_type: str | None
) -> None:
    answer = client.post("/invocations", data=b'{"instances": [[1, 2]]}', content_type=content_type)
    assert_is_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "send it with Content-Type: application/json, or text/csv")


@pytest.mark.parametrize("content_type", ["application/json; charset=latin-1", "text/csv; header=absent"])
def test_a_content_type_with_a_parameter_that_would_be_overlooked_is_a_415(client: Client, content_type: str) -> None:
    answer = client.post("/invocations", data=b'{"instances": [[1, 2]]}', content_type=content_type)
    assert_is_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "expected none but charset=utf-8")


@pytest.mark.parametrize("content_type", ["APPLICATION/JSON", 'application/json; charset="UTF-8"'])
def test_a_content_type_may_be_written_as_http_allows(client: Client, content_type: str) -> None:
    answer = client.post("/invocations", data=b'{"instances": [[1, 2]]}', content_type=content_type)
    assert answer.json == {"predictions": [0]}


@pytest.mark.parametrize("content_type", ["application/vnd.apache.parquet", "Application/X-Parquet"])
def test_parquet_is_a_415_that_names_the_way(client: Client, content_type: str) -> None:
    answer = client.post("/invocations", data=b"PAR1", content_type=content_type)
    assert_is_error(
        answer, 415, "UNSUPPORTED_MEDIA_TYPE", "Parquet is not read here", "to_csv(index=False)", "text/csv"
    )


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, identity"])
def test_a_body_that_is_compressed_otherwise_is_a_415_that_says_how(client: Client, coding: str) -> None:
    answer = client.post("/invocations", json={"instances": [[1, 2]]}, headers={"Content-Encoding": coding})
    assert_is_error(
        answer, 415, "UNSUPPORTED_MEDIA_TYPE", f"encoded as {coding}", "as gzip", "without Content-Encoding"
    )


@pytest.mark.parametrize("path", PREDICTING)
@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
def test_a_compressed_body_is_answered_as_it_would_be_without(
    client: Client, path: str, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = body_for(path)
    plain = client.post(path, data=body, content_type="application/json")
    answer = client.post(
        path, data=compress(body), content_type="application/json", headers={"Content-Encoding": coding}
    )
    assert (answer.status_code, answer.data) == (200, plain.data)


WHOLE = gzip.compress(b'{"instances": [[1, 2]]}')


@pytest.mark.parametrize(
    ("body", "coding", "said"),
    [
        (b'{"instances": [[1, 2]]}', "gzip", "the body is declared as gzip, and is none"),
        (WHOLE, "deflate", "the body is declared as deflate, and is none"),
        (WHOLE[:-9], "gzip", "the body ends in the middle of its gzip"),
        (b"", "gzip", "the body ends in the middle of its gzip"),
        (WHOLE[:-8] + b"\0" * 8, "gzip", "incorrect data check"),
        (WHOLE + b"more", "gzip", "4 bytes follow the end of the body's gzip"),
        (WHOLE * 1000, "gzip", "follow the end of the body's gzip; send one part"),
    ],
)
def test_what_is_not_compressed_as_it_says_is_a_400(body: bytes, coding: str, said: str) -> None:
    answer = client_of(SERVED).post(
        "/invocations", data=body, content_type="application/json", headers={"Content-Encoding": coding}
    )
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", said)


@pytest.mark.parametrize("more", [0, 1])
def test_what_a_body_unpacks_to_has_the_limit_of_all_bodies(more: int) -> None:
    most = 1024 * 1024
    rows = b'{"instances": [[1, 2]]}'
    body = gzip.compress(rows + b" " * (most - len(rows) + more))
    assert len(body) < 2000
    client = client_of(SERVED, settings=Settings(max_body_bytes=most))
    answer = client.post(
        "/invocations", data=body, content_type="application/json", headers={"Content-Encoding": "gzip"}
    )
    if more:
        assert_is_error(answer, 413, "REQUEST_ENTITY_TOO_LARGE", f"the unpacked body is over the limit of {most} bytes")
    else:
        assert answer.get_json() == {"predictions": [0]}


def test_what_a_compressed_body_asks_for_is_counted_by_what_it_unpacks_to() -> None:
    body = gzip.compress(b"length,width\n" + b"1,2\n" * 150_000)
    assert len(body) < 4000
    gzipped = {"Content-Encoding": "gzip"}
    answer = client_of(SERVED).post("/invocations", data=body, content_type="text/csv", headers=gzipped)
    assert len(answer.get_json()["predictions"]) == 150_000
    records = gzip.compress(b'{"instances": [' + b"{}," * 1_100_000 + b"{}]}")
    answer = client_of(SERVED).post("/invocations", data=records, content_type="application/json", headers=gzipped)
    assert_is_error(answer, 413, "REQUEST_ENTITY_TOO_LARGE", "the body has 1100003 lists and records")


def test_a_fault_of_the_service_is_a_500_that_keeps_the_details_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    client = client_of(served_as(answering(BrokenEstimator(), DESCRIPTION)))
    answer = client.post("/invocations", json={"instances": [[1, 2]]})
    assert_is_error(answer, 500, "INTERNAL_ERROR", "its log has the details")
    assert "secret reason" not in answer.text
    assert "the secret reason" in caplog.text
    assert "POST /invocations failed" in caplog.text


def test_half_a_surrogate_pair_in_a_body_comes_back_readable(client: Client) -> None:
    answer = client.post("/invocations", data=b'{"inputs": {"\\ud800": 1}}', content_type="application/json")
    assert answer.status_code == 400
    answer = client.post(
        "/invocations", data=b'{"instances": [{"length": "\\ud800"}]}', content_type="application/json"
    )
    assert answer.status_code == 400
    split = b'{"dataframe_split": {"\\ud800": 1, "data": []}}'
    answer = client.post("/invocations", data=split, content_type="application/json")
    assert_is_error(answer, 400, "INVALID_PARAMETER_VALUE", r"'\ud800'")


# --- who is let in -------------------------------------------------------------------------------------------------


def answer_after(waited: float, environ: dict[str, Any]) -> Answer:
    """Return the answer to a request that has waited so many seconds for its turn."""
    service = service_of(SERVED)
    context = service.begin(environ)
    context.waited = waited
    return service.answer(context)


def test_a_request_that_has_waited_too_long_for_its_turn_is_to_come_again_soon() -> None:
    answer = answer_after(1.1, environ_of())
    assert (answer.status, answer.error_code) == (503, "RESOURCE_EXHAUSTED")
    assert b"more to do than can be done within 1 s" in answer.body
    assert dict(answer.headers)["Retry-After"] == "1"


def test_one_that_is_overrun_still_says_that_it_is_alive() -> None:
    assert answer_after(1e9, environ_of(REQUEST_METHOD="GET", PATH_INFO="/health")).status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:1235", "inference:1235"]
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/invocations")])
def test_the_service_answers_to_its_names_with_any_port(client: Client, host: str, method: str, path: str) -> None:
    body = {"instances": [[1, 2]]} if method == "POST" else None
    assert client.open(path, method=method, headers={"Host": host}, json=body).status_code == 200


FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "localhost:1.evil.example",
    "evil.example#localhost",
    "",
    "127.0.0.2",
]


@pytest.mark.parametrize(("path", "status"), [("/ready", 200), ("/version", 200)])
def test_what_is_under_way_is_said_with_and_without_a_model(path: str, status: int) -> None:
    for served, expected in ((SERVED, status), (None, 503 if path == "/ready" else 200)):
        service = service_of(served)
        assert "under_way" not in Client(service).get(path).get_json()
        state = State(None, under_way=Attempt("8", "2026-01-02T03:04:05+00:00"))
        service._deployments.first.state = state
        answer = Client(service).get(path)
        assert answer.status_code == expected
        assert answer.get_json()["under_way"] == {"version": "8", "since": "2026-01-02T03:04:05+00:00"}


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/health", "/version", "/metrics", "/v2", "/nothing", *PREDICTING])
def test_a_page_of_others_whose_name_leads_here_gets_nothing(client: Client, host: str, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = client.open(path, method=method, environ_overrides={"HTTP_HOST": host})
        assert_is_error(answer, 403, "PERMISSION_DENIED", "INFERENCE_ALLOWED_HOSTS adds one")


FOREIGN_ORIGINS = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://localhost/",
    "null",
    "",
    "localhost",
    "://localhost",
    "evil://localhost",
    "http://evil://localhost",
    "chrome-extension://localhost",
]


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("path", [*PREDICTING, "/health"])
def test_a_page_of_others_cannot_send_anything(client: Client, origin: str, path: str) -> None:
    answer = client.post(path, json={"instances": [[1, 2]]}, headers={"Origin": origin})
    assert_is_error(answer, 403, "PERMISSION_DENIED", "Origin is ")


ELSEWHERE = "https://app.example.com"
CORS = Settings(cors_origins=frozenset({ELSEWHERE}))
ASKS_FIRST = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@pytest.mark.parametrize("path", PREDICTING)
def test_a_page_of_an_origin_that_the_settings_name_asks_and_reads_the_answer(path: str) -> None:
    client, body = client_of(SERVED, settings=CORS), body_for(path)
    asked = client.open(path, method="OPTIONS", headers={"Origin": ELSEWHERE, **ASKS_FIRST})
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (204, ELSEWHERE)
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in asked.headers["Access-Control-Allow-Headers"]
    for sent, status in ((body, 200), (b"no rows", 400)):
        answer = client.post(path, data=sent, content_type="application/json", headers={"Origin": ELSEWHERE})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, ELSEWHERE)
        assert answer.headers["Vary"] == "Origin"
        assert "X-Model-Version" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Methods" not in answer.headers


@pytest.mark.parametrize("path", ["/ready", "/version", "/openapi.json", "/v2", "/nothing"])
def test_what_is_looked_at_can_be_read_by_such_a_page_too(path: str) -> None:
    answer = client_of(SERVED, settings=CORS).get(path, headers={"Origin": ELSEWHERE})
    assert answer.headers["Access-Control-Allow-Origin"] == ELSEWHERE


@pytest.mark.parametrize("origin", [*FOREIGN_ORIGINS, "http://app.example.com", ELSEWHERE + ":444", ELSEWHERE + "/"])
def test_a_page_of_another_origin_still_gets_nothing(origin: str) -> None:
    client = client_of(SERVED, settings=CORS)
    answer = client.post("/invocations", json={"instances": [[1, 2]]}, headers={"Origin": origin})
    assert_is_error(answer, 403, "PERMISSION_DENIED", "INFERENCE_CORS_ORIGINS")
    asked = client.open("/invocations", method="OPTIONS", headers={"Origin": origin, **ASKS_FIRST})
    for found in (answer, asked, client.get("/version", headers={"Origin": origin})):
        assert not any(name.startswith("Access-Control") for name, _ in found.headers)


def test_all_origins_may_ask_where_that_is_wanted_under_this_services_names_alone() -> None:
    client = client_of(SERVED, settings=Settings(cors_origins=frozenset("*")))
    answer = client.post("/invocations", json={"instances": [[1, 2]]}, headers={"Origin": "null"})
    assert (answer.get_json(), answer.headers["Access-Control-Allow-Origin"]) == ({"predictions": [0]}, "*")
    foreign = client.get("/version", headers={"Origin": ELSEWHERE, "Host": "evil.example"})
    assert foreign.status_code == 403


def test_no_answer_permits_other_origins_anything_unless_the_settings_do(client: Client) -> None:
    for method, path in (("POST", "/invocations"), ("OPTIONS", "/invocations"), ("GET", "/version"), ("OPTIONS", "/")):
        answer = client.open(path, method=method, headers={"Origin": "http://localhost:3000", **ASKS_FIRST})
        assert not any(name.startswith("Access-Control") for name, _ in answer.headers)


def test_the_services_own_page_can(client: Client) -> None:
    for origin in ("http://localhost:1235", "http://127.0.0.1", "http://[::1]:1", "https://localhost"):
        answer = client.post("/invocations", json={"instances": [[1, 2]]}, headers={"Origin": origin})
        assert answer.json == {"predictions": [0]}


@pytest.mark.parametrize(
    ("first", "then"), [(("localhost", None), (None, "localhost")), ((None, "http://a"), ("http://a", None))]
)
def test_what_was_accepted_as_a_host_is_no_origin_and_the_other_way_round(
    first: tuple[Any, ...], then: tuple[Any, ...]
) -> None:
    allowed = AllowedHosts(frozenset({"localhost", "a"}))
    allowed.check(*first)
    with pytest.raises(Forbidden):
        allowed.check(*then)


def test_prometheus_may_ask_each_replica_by_its_own_address_and_by_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("172.20.0.5", 0)), (10, 1, 6, "", ("fd00::5", 0, 0, 0))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: found)
    client = client_of(SERVED, settings=Settings(allowed_hosts=own_addresses()))
    for host in ("172.20.0.5:1235", "[fd00::5]:1235"):
        assert client.get("/version", headers={"Host": host}).status_code == 200
    assert_is_error(client.get("/version", headers={"Host": "172.20.0.6:1235"}), 403, "PERMISSION_DENIED", "Host is ")


def test_a_machine_whose_name_is_nobodys_has_no_addresses_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "nobody.invalid")
    assert own_addresses() == frozenset()


def test_a_program_that_names_no_host_is_let_in() -> None:
    allowed = AllowedHosts(frozenset({"localhost"}))
    allowed.check(None, None)
    with pytest.raises(Forbidden):
        allowed.check("", None)


def test_any_name_is_answered_to_where_that_is_wanted() -> None:
    client = client_of(SERVED, settings=Settings(allowed_hosts=frozenset("*")))
    answer = client.get("/version", headers={"Host": "evil.example", "Origin": "null"})
    assert answer.status_code == 200


def test_a_connection_too_many_and_a_malformed_request_get_an_answer_like_all_others() -> None:
    service = service_of(SERVED)
    for answer, status, code in (
        (service.too_many_connections(9), "503 Service Unavailable", "RESOURCE_EXHAUSTED"),
        (service.malformed_request("Invalid HTTP Version: 'HTTP/9'"), "400 Bad Request", "BAD_REQUEST"),
    ):
        assert reason_of(answer.status) == status
        assert json.loads(answer.body)["error_code"] == code
        found = dict(answer.headers)
        assert found["Content-Length"] == str(len(answer.body))
        assert found["X-Model-Version"] == "7"
        assert found["X-Request-ID"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded"]
)
def test_tensors_are_not_taken_from_what_any_page_may_send(client: Client, content_type: str) -> None:
    answer = client.post(PREDICTING[2], data=TENSORS, content_type=content_type)
    assert_is_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "application/json", "application/octet-stream")


@pytest.mark.parametrize("header", [{"Origin": "http://localhost:1235"}, {"Sec-Fetch-Site": "same-site"}])
def test_tensors_without_a_type_are_not_taken_from_a_browser_which_sends_bytes_of_any_page_so(
    client: Client, header: dict[str, str]
) -> None:
    answer = client.post(PREDICTING[2], data=TENSORS, headers=header)
    assert_is_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE", "application/json", "from programs without one")
    assert client.post(PREDICTING[2], data=TENSORS, headers=header, content_type="application/json").status_code == 200


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", None])
def test_tensors_come_as_json_or_without_a_type(client: Client, content_type: str | None) -> None:
    assert client.post(PREDICTING[2], data=TENSORS, content_type=content_type).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/iris_logistic_regression/infer", 400),
        ("GET", "/v2/models/iris_logistic_regression/infer", 405),
        ("POST", "/v2/models/another/infer", 404),
        ("GET", "/v2/models/another", 404),
        ("GET", "/v2/models/another/ready", 404),
        ("DELETE", "/v2", 405),
        ("GET", "/v2/nothing", 404),
    ],
)
def test_an_error_of_the_open_inference_protocol_says_so_under_its_name(
    client: Client, method: str, path: str, status: int
) -> None:
    answer = client.open(path, method=method, data=b"{}")
    assert answer.status_code == status
    assert answer.json["error"] == answer.json["message"]


def test_an_error_elsewhere_has_one_text(client: Client) -> None:
    assert "error" not in client.get("/nothing").json


# --- what every answer has -----------------------------------------------------------------------------------------

EVERY = [("GET", "/health"), ("POST", "/invocations"), ("GET", "/invocations"), ("GET", "/nothing")]


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_every_answer_says_which_version_gave_it(client: Client, method: str, path: str) -> None:
    answer = client.open(path, method=method)
    assert answer.headers["X-Model-Name"] == "iris_logistic_regression"
    assert answer.headers["X-Model-Version"] == "7"


@pytest.mark.parametrize(
    ("method", "path"), [*EVERY, ("GET", "/"), ("OPTIONS", "/invocations"), ("GET", "/page/page.js")]
)
def test_no_answer_is_taken_for_something_else_than_it_says(client: Client, method: str, path: str) -> None:
    assert client.open(path, method=method).headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_every_answer_of_a_service_without_a_model_says_so(waiting: Client, method: str, path: str) -> None:
    answer = waiting.open(path, method=method)
    assert answer.headers["X-Model-Version"] == "none"


def test_a_name_that_no_header_can_have_is_percent_encoded() -> None:
    version = ModelVersion("grün\n", "1", "", 1, "m-1", "")
    answer = client_of(served_as(MODEL, version)).get("/health")
    assert answer.headers["X-Model-Name"] == "gr%C3%BCn%0A"


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_a_request_keeps_the_id_that_it_came_with(client: Client, method: str, path: str) -> None:
    answer = client.open(path, method=method, headers={"X-Request-ID": "my-request/1"})
    assert answer.headers["X-Request-ID"] == "my-request/1"


def test_a_request_without_an_id_gets_one_of_its_own(client: Client) -> None:
    ids = {client.get("/health").headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
    assert all(ids)


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "grün"])
def test_an_id_that_is_none_is_replaced(client: Client, given: str) -> None:
    found = client.get("/health", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert found
    assert found != given


def test_a_trace_is_passed_on_and_is_the_id_where_there_is_no_other(client: Client) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = client.get("/health", headers={"traceparent": trace})
    assert answer.headers["traceparent"] == trace
    assert answer.headers["X-Request-ID"] == "0af7651916cd43dd8448eb211c80319c"
    answer = client.get("/health", headers={"traceparent": "nonsense"})
    assert "traceparent" not in answer.headers


def test_a_request_is_a_line_in_the_log_with_all_that_is_known_about_it() -> None:
    read, write = os.pipe()
    client = Client(service_of(SERVED, log=RequestLog(100, write)))
    client.post("/invocations", json={"instances": [[1, 2]] * 3}, headers={"X-Request-ID": "a"})
    client.post("/invocations", json={"instances": []}, headers={"X-Request-ID": "b"})
    client.get("/grün", headers={"X-Request-ID": "c"})
    os.close(write)
    with os.fdopen(read) as lines:
        good, bad, unknown = (json.loads(line) for line in lines)
    assert good.pop("milliseconds") > 0
    assert good.pop("time").endswith("Z")
    assert good == {
        "level": "info",
        "message": "request",
        "request_id": "a",
        "method": "POST",
        "path": "/invocations",
        "status": 200,
        "rows": 3,
        "model": "iris_logistic_regression",
        "version": "7",
        "client": None,
    }
    assert (bad["status"], bad["error_code"], bad["rows"]) == (400, "INVALID_PARAMETER_VALUE", 0)
    assert (unknown["path"], unknown["error_code"]) == ("/grün", "RESOURCE_DOES_NOT_EXIST")


def test_what_a_terminal_would_obey_is_visible_in_the_log() -> None:
    read, write = os.pipe()
    client = Client(service_of(SERVED, log=RequestLog(100, write)))
    client.get("/\x9b2J\x1b[1m\u202e")
    os.close(write)
    with os.fdopen(read, "rb") as lines:
        line = lines.read()
    assert json.loads(line)["path"] == r"/\x9b2J\x1b[1m\u202e"
    assert "\x9b" not in line.decode()


def test_an_answer_without_a_body_has_no_length(client: Client) -> None:
    answer = client.open("/invocations", method="OPTIONS")
    assert answer.status_code == 204
    assert "Content-Length" not in answer.headers
