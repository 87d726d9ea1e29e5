"""What /status tells people: figures of all processes together, and what other parts of the stack say."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from inference.web import flask_app
from inference.web.figures import figures
from inference.web.neighbour import AGAIN_SECONDS, Neighbour
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.serving import SERVED, client_of

TOLD = """# TYPE inference_requests_total counter
inference_requests_total{model="m",version="1",endpoint="/invocations",status="200"} 3.0
inference_requests_total{model="m",version="2",endpoint="/invocations",status="200"} 4.0
inference_requests_total{model="m",version="2",endpoint="/v2/models/{name}/infer",status="503"} 1.0
inference_requests_total{model="m",version="2",endpoint="/status",status="200"} 99.0
# TYPE inference_errors_total counter
inference_errors_total{model="m",version="2",endpoint="/v2/models/{name}/infer",kind="RESOURCE_EXHAUSTED"} 1.0
# TYPE inference_request_seconds histogram
inference_request_seconds_bucket{model="m",version="1",endpoint="/invocations",le="0.001"} 2.0
inference_request_seconds_bucket{model="m",version="1",endpoint="/invocations",le="+Inf"} 3.0
inference_request_seconds_bucket{model="m",version="2",endpoint="/invocations",le="0.001"} 4.0
inference_request_seconds_bucket{model="m",version="2",endpoint="/invocations",le="+Inf"} 5.0
# TYPE inference_rows_total counter
inference_rows_total{model="m",version="1"} 30.0
# TYPE inference_queue gauge
inference_queue 2.0
# TYPE inference_prediction_log_dropped_total counter
inference_prediction_log_dropped_total{reason="full"} 7.0
# TYPE inference_shadow_rows_total counter
inference_shadow_rows_total{model="m",version="2",result="alike"} 40.0
# TYPE inference_shadow_seconds histogram
inference_shadow_seconds_bucket{model="m",version="2",le="+Inf"} 8.0
inference_shadow_seconds_sum{model="m",version="2"} 0.002
inference_shadow_seconds_count{model="m",version="2"} 8.0
"""


def test_figures_are_those_of_all_versions_and_of_requests_for_predictions_alone() -> None:
    found = figures(text_string_to_metric_families(TOLD))
    assert found["requests"] == {"200": 7, "503": 1}
    assert found["errors"] == {"RESOURCE_EXHAUSTED": 1}
    assert found["seconds"] == {"0.001": 6, "+Inf": 8}
    assert (found["rows"], found["waiting"], found["prediction_log_dropped"]) == ({"1": 30}, 2, {"full": 7})
    assert (found["in_flight"], found["swaps"], found["labels"]) == (0, 0, {})
    assert (found["shadow"], found["shadow_milliseconds"]) == ({"alike": 40}, {"2": 0.25})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without the folder that processes share."""
    monkeypatch.setattr(flask_app, "figures_of_all", lambda: figures(text_string_to_metric_families(TOLD)))


@pytest.mark.usefixtures("told")
def test_a_program_gets_json_and_a_browser_a_page_without_a_script_or_style_inside() -> None:
    client = client_of(SERVED)
    found = client.get("/status").get_json()
    assert (found["model"]["version"], found["figures"]["requests"]) == ("7", {"200": 7, "503": 1})
    assert (found["drift"], found["schedule"], found["prediction_log"], found["under_way"]) == (None, None, None, None)
    page = client.get("/status", headers={"Accept": "text/html"})
    assert page.mimetype == "text/html"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "<style" not in page.text
    assert "<script>" not in page.text
    assert client.get("/page/status.js").status_code == 200


@pytest.mark.usefixtures("told")
def test_where_no_model_is_served_it_says_why() -> None:
    found = client_of(None, problem="MLflow does not answer").get("/status").get_json()
    assert found["model"] is None
    assert found["reasons"]


class Monitor(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"drift": True, "columns": ["age"]}).encode())

    def log_message(self, *_: Any) -> None:
        pass


def test_what_the_monitor_says_is_asked_for_aside_and_forgotten_when_it_is_gone() -> None:
    server = HTTPServer(("127.0.0.1", 0), Monitor)
    neighbour = Neighbour(f"http://127.0.0.1:{server.server_port}/status")
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    neighbour.ask()
    thread.join()
    assert neighbour._said == {"drift": True, "columns": ["age"]}
    server.server_close()
    neighbour.ask()
    assert neighbour._said is None


def test_it_is_asked_once_in_a_while_however_often_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], []
    neighbour = Neighbour("http://watch:9105/status", lambda: now[0])
    monkeypatch.setattr(neighbour, "ask", lambda: asked.append(now[0]))
    for now[0] in (0.0, 1.0, AGAIN_SECONDS - 0.1, AGAIN_SECONDS):
        neighbour.said()
    for thread in threading.enumerate():
        if thread.name == "neighbour":
            thread.join()
    assert asked == [0.0, AGAIN_SECONDS]


def test_where_no_address_is_set_nobody_is_asked() -> None:
    before = threading.active_count()
    assert Neighbour("").said() is None
    assert threading.active_count() == before
