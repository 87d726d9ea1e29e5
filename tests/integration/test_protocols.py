"""The protocols as others speak them: an independent client of the Open Inference Protocol, and a fuzzer with our own description."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from openapi_spec_validator import validate
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from tests.fuzzing import IS_SHORT, TIMES
from tests.integration.places import CLASSES, MODEL, NAMES, ROOT, SAMPLES, Service

COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
# What an answer has to keep to, whatever was asked.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,use_after_free"
)
# Requests of each operation and each way to make them: some hundred cases in all, ten thousand and more in `make fuzz`.
EXAMPLES = 50 * TIMES
CASES = 500 * TIMES


@pytest.fixture(scope="module")
def place(first: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return first.place.copy(tmp_path_factory.mktemp("protocols") / "place")


@pytest.fixture(scope="module")
def service(place: Any) -> Iterator[Any]:
    with place.inference(INFERENCE_LOG_RATE="100000") as service:
        service.answers("/ready")
        yield service


@pytest.fixture
def client(service: Any) -> Iterator[Any]:
    client = InferenceServerClient(service.url.removeprefix("http://"))
    yield client
    client.close()


def tensor(name: str, values: np.ndarray, datatype: str = "FP64", binary: bool = True) -> InferInput:
    found = InferInput(name, list(values.shape), datatype)
    found.set_data_from_numpy(values, binary_data=binary)
    return found


def test_the_server_and_the_model_are_alive_and_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready(MODEL, "2")
    assert not client.is_model_ready("another")


def test_the_metadata_has_the_datatypes_of_the_signature(client: Any) -> None:
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    found = client.get_model_metadata(MODEL)
    assert (found["name"], found["versions"]) == (MODEL, ["1"])
    assert found["inputs"] == [{"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in COLUMNS]
    assert found["outputs"] == [
        {"name": "predict", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 3]},
    ]


@pytest.mark.parametrize("binary", [True, False])
def test_a_tensor_per_column_is_predicted(client: Any, binary: bool) -> None:
    inputs = [tensor(name, np.array(SAMPLES)[:, i : i + 1], binary=binary) for i, name in enumerate(COLUMNS)]
    answer = client.infer(MODEL, inputs, request_id="mine")
    assert answer.as_numpy("predict").ravel().tolist() == CLASSES
    assert answer.get_response()["id"] == "mine"
    assert answer.get_response()["model_version"] == "1"


@pytest.mark.parametrize("binary", [True, False])
def test_one_tensor_of_all_columns_is_predicted_with_its_probabilities(client: Any, service: Any, binary: bool) -> None:
    outputs = [InferRequestedOutput(name, binary_data=False) for name in ("predict", "predict_proba")]
    answer = client.infer(MODEL, [tensor("rows", np.array(SAMPLES), binary=binary)], "1", outputs=outputs)
    assert answer.as_numpy("predict").ravel().tolist() == CLASSES
    named = service.post("/predict_names", {"instances": SAMPLES}).json()["probabilities"]
    assert answer.as_numpy("predict_proba").tolist() == [[row[name] for name in NAMES] for row in named]


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_come_in_the_form_that_is_asked_for(client: Any, binary: bool) -> None:
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in ("predict", "predict_proba")]
    answer = client.infer(MODEL, [tensor("rows", np.array(SAMPLES))], outputs=outputs)
    assert answer.as_numpy("predict").ravel().tolist() == CLASSES
    assert answer.as_numpy("predict_proba").shape == (3, 3)
    assert ("data" in answer.get_output("predict")) is not binary


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([tensor("rows", np.zeros((1, 3)))], "lacks 'sepal length (cm)'"),
        ([tensor("sepal length (cm)", np.zeros((1, 1)))], "lacks 'sepal width (cm)'"),
        ([tensor(name, np.full((1, 1), np.nan)) for name in COLUMNS], "inputs[0].data[0] is not a finite number"),
        ([tensor("rows", np.array([[b"a"] * 4], dtype=object), "BYTES")], "inputs[0].data[0] is text"),
    ],
    ids=["too few columns", "a column alone", "not a number", "text"],
)
def test_a_tensor_that_is_not_what_the_model_takes_is_refused_with_its_place(
    client: Any, inputs: Any, words: Any
) -> None:
    with pytest.raises(InferenceServerException) as refusal:
        client.infer(MODEL, inputs)
    assert refusal.value.status() == "400"
    assert words in str(refusal.value)


def test_an_independent_client_reads_the_words_of_an_error(client: Any) -> None:
    with pytest.raises(InferenceServerException) as refusal:
        client.infer(MODEL, [tensor("rows", np.zeros((1, 3)))])
    assert "lacks 'sepal length (cm)'" in refusal.value.message()
    with pytest.raises(InferenceServerException) as refusal:
        client.get_model_metadata("another")
    assert refusal.value.message() == f"there is no model 'another'; this service serves {MODEL!r}"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("shape", [[3], [3, 1]], ids=["a value per row", "a row of one value"])
def test_a_tensor_per_column_has_one_of_the_shapes_that_clients_send(
    client: InferenceServerClient, shape: list[int], binary: bool
) -> None:
    values = np.array(SAMPLES)
    inputs = [tensor(name, values[:, i].reshape(shape), binary=binary) for i, name in enumerate(COLUMNS)]
    assert client.infer(MODEL, inputs).as_numpy("predict").tolist() == [[value] for value in CLASSES]


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT64"])
def test_numbers_of_each_size_are_predicted_as_their_values_are(
    client: InferenceServerClient, service: Service, datatype: str
) -> None:
    values = np.array(SAMPLES).round().astype(triton_to_np_dtype(datatype))
    expected = service.post("/invocations", {"instances": values.astype(float).tolist()}).json()["predictions"]
    forms = [True] if datatype == "FP16" else [True, False]  # the client sends FP16 in binary alone
    for binary in forms:
        answer = client.infer(MODEL, [tensor("rows", values, datatype, binary)])
        assert answer.as_numpy("predict").ravel().tolist() == expected
    as_json = {"name": "rows", "shape": [3, 4], "datatype": datatype, "data": values.tolist()}
    answer = service.post(f"/v2/models/{MODEL}/infer", {"inputs": [as_json]}).json()
    assert answer["outputs"][0]["data"] == expected


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_a_request_that_the_client_compresses_is_predicted(
    client: InferenceServerClient, algorithm: str, binary: bool
) -> None:
    rows = [tensor("rows", np.array(SAMPLES), binary=binary)]
    answer = client.infer(
        MODEL, rows, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
    )
    assert answer.as_numpy("predict").ravel().tolist() == CLASSES


def test_what_else_the_client_says_of_a_request_makes_no_difference(client: InferenceServerClient) -> None:
    rows = [tensor("rows", np.array(SAMPLES))]
    answer = client.infer(
        MODEL, rows, request_id="7", sequence_id=3, sequence_start=True, priority=1, timeout=5, parameters={"mine": "x"}
    )
    assert answer.as_numpy("predict").ravel().tolist() == CLASSES
    assert answer.get_response()["id"] == "7"


def test_requests_at_once_of_one_client_are_all_answered(service: Service) -> None:
    with InferenceServerClient(service.url.removeprefix("http://"), concurrency=4) as client:
        rows = [tensor("rows", np.array(SAMPLES))]
        asked = [client.async_infer(MODEL, rows, request_id=str(number)) for number in range(8)]
        answers = [request.get_result() for request in asked]
    assert [answer.get_response()["id"] for answer in answers] == [str(number) for number in range(8)]
    assert all(answer.as_numpy("predict").ravel().tolist() == CLASSES for answer in answers)


@pytest.mark.parametrize("version", ["", "1"])
def test_the_metadata_of_the_model_is_enough_to_ask_it(client: InferenceServerClient, version: str) -> None:
    """As generic clients do: inputs and outputs by their names, types and shapes."""
    found = client.get_model_metadata(MODEL, version)
    inputs = [
        tensor(one["name"], np.ones([2, *one["shape"][1:]], triton_to_np_dtype(one["datatype"])), one["datatype"])
        for one in found["inputs"]
    ]
    answer = client.infer(MODEL, inputs, outputs=[InferRequestedOutput(one["name"]) for one in found["outputs"]])
    for one in found["outputs"]:
        output = answer.get_output(one["name"])
        assert (output["datatype"], output["shape"]) == (one["datatype"], [2, *one["shape"][1:]])


@pytest.mark.parametrize("what", ["get_model_config", "get_inference_statistics"])
def test_what_tritons_own_extensions_ask_is_not_there_in_words_that_the_client_reads(
    client: InferenceServerClient, what: str
) -> None:
    with pytest.raises(InferenceServerException) as refusal:
        getattr(client, what)(MODEL)
    assert refusal.value.status() == "404"
    assert refusal.value.message().startswith(f"there is no /v2/models/{MODEL}/")


def test_another_model_or_version_is_not_found(client: Any) -> None:
    rows = [tensor("rows", np.array(SAMPLES))]
    for name, version in (("another", ""), (MODEL, "7")):
        with pytest.raises(InferenceServerException) as refusal:
            client.infer(name, rows, version)
        assert refusal.value.status() == "404"


@pytest.mark.parametrize(
    "path", ["/", "/health", "/ready", "/version", "/openapi.json", "/v2", "/nothing", "/invocations"]
)
def test_every_answer_names_model_version_and_request(service: Any, path: str) -> None:
    answer = requests.get(service.url + path, headers={"X-Request-ID": "abc-1"}, timeout=30)
    assert (answer.headers["X-Model-Name"], answer.headers["X-Model-Version"]) == (MODEL, "1")
    assert answer.headers["X-Request-ID"] == "abc-1"


def test_a_trace_is_kept_and_names_the_request_in_the_log(service: Any) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = requests.get(service.url + "/version", headers={"traceparent": trace}, timeout=30)
    assert answer.headers["traceparent"] == trace
    assert answer.headers["X-Request-ID"] == "0af7651916cd43dd8448eb211c80319c"
    assert "0af7651916cd43dd8448eb211c80319c" in service.log


@pytest.mark.parametrize("given", ["with space", "x" * 129, "é"])
def test_a_request_id_that_is_none_gets_another_one(service: Any, given: Any) -> None:
    answer = requests.get(service.url + "/health", headers={"X-Request-ID": given.encode()}, timeout=30)
    assert answer.headers["X-Request-ID"] not in (given, "")


def test_a_browser_gets_a_page_and_a_client_json(service: Any) -> None:
    page = requests.get(service.url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}, timeout=30)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert MODEL in page.text
    for path in ("/page/page.css", "/page/page.js"):
        assert service.get(path).status_code == 200
    assert service.get("/page/index.html").status_code == 404
    assert service.get("/").json()["model"]["version"] == "1"


def test_the_description_is_valid_and_its_example_is_predicted(service: Any) -> None:
    document = service.get("/openapi.json").json()
    validate(document)
    content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    body = content["application/json"]["examples"]["one row"]["value"]
    assert service.post("/invocations", body).json() == {"predictions": [0]}
    rows = content["text/csv"]["examples"]["rows"]["value"]
    answer = requests.post(service.url + "/invocations", rows, headers={"Content-Type": "text/csv"}, timeout=30)
    assert answer.json() == {"predictions": [0]}


@pytest.mark.fuzz
def test_the_description_is_true_in_all_cases_that_are_made_of_it(service: Any, tmp_path: Path) -> None:
    """Schemathesis makes requests of the description, right ones and wrong ones, and holds the answers against it."""
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{service.url}/openapi.json"]
    command += ["--url", service.url, "--checks", CHECKS, "--max-examples", str(EXAMPLES), "--no-color"]
    command += ["--generation-database", "none", "--suppress-health-check", "all"]
    command += ["--seed", "1"] if IS_SHORT else []
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)  # type: ignore[arg-type]
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    found = re.search(r"([\d,]+) generated", result.stdout)
    assert found, result.stdout[-2000:]
    assert int(found[1].replace(",", "")) >= CASES
    assert "Traceback" not in service.log


def examples() -> list[tuple[str, str]]:
    """Return the requests of the README and docs/serving.md, each with the answer that stands below it."""
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/serving.md"))
    found = [
        example for example in re.findall(r"^    \$ (.*)\n    (.*)$", text, re.M) if "localhost:1235" in example[0]
    ]
    assert len(found) > 12
    return found


@pytest.mark.parametrize(("command", "expected"), examples())
def test_the_examples_of_the_documentation_give_what_stands_below_them(
    service: Any, command: Any, expected: Any
) -> None:
    command = command.replace("http://localhost:1235", service.url).replace("curl ", "curl --silent ")
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30).stdout.strip()
    # An ellipsis stands for whatever there is.
    assert re.fullmatch(".*".join(map(re.escape, expected.split("…"))), answer), answer


def test_the_log_has_a_line_per_request_up_to_the_rate(place: Any) -> None:
    with place.inference(INFERENCE_WORKERS="1", INFERENCE_LOG_RATE="1") as service:
        service.answers("/ready")
        for _ in range(30):
            service.post("/invocations", {"instances": SAMPLES})
        lines = [line for line in service.lines if line["message"] == "request"]
        assert 1 <= len(lines) < 20
        assert set(lines[0]) >= {"time", "level", "request_id", "method", "path", "status", "milliseconds", "version"}
    with place.inference(INFERENCE_WORKERS="1", INFERENCE_LOG_RATE="1000") as service:
        service.answers("/ready")
        answer = requests.post(f"{service.url}/invocations", json={"instances": [[1]]}, timeout=30)
        (line,) = [line for line in service.lines if line.get("request_id") == answer.headers["X-Request-ID"]]
        assert (line["status"], line["error_code"], line["path"]) == (400, "INVALID_PARAMETER_VALUE", "/invocations")
        json.dumps(line)
