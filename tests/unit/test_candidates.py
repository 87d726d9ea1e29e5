"""Which versions the reviewer sees: whatever somebody writes into one registered model, the candidates of the others are found."""

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlparse

import pytest
from trainer.tracking import rest

MODELS = 30
LARGE = 7


class Registry(BaseHTTPRequestHandler):
    """Pages of registered models as MLflow gives them; each has a candidate, and one has too many tags."""

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query)
        token = query.get("page_token", [""])[0]
        start = json.loads(base64.b64decode(token))["offset"] if token else 0
        end = start + int(query["max_results"][0])
        models = [self.model(number) for number in range(MODELS)[start:end]]
        following = base64.b64encode(json.dumps({"offset": end}).encode()).decode()
        more = {"next_page_token": following} if end < MODELS else {}
        content = json.dumps({"registered_models": models, **more}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @staticmethod
    def model(number: int) -> dict[str, object]:
        tags = [{"key": "a", "value": "x" * 20_000}] if number == LARGE else []
        return {"name": f"model {number}", "aliases": [{"alias": "candidate", "version": "1"}], "tags": tags}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(rest, "MOST_BYTES", 10_000)
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_model_with_too_many_tags_is_passed_over_and_told_of_and_hides_no_other_candidate(url: str) -> None:
    told: list[str] = []
    found = rest.candidates(url, told.append)
    assert found == [(f"model {number}", "1") for number in range(MODELS) if number != LARGE]
    assert len(told) == 1
    assert told[0].startswith("registered model 8 by name is passed over, as it has too many tags: ")
