"""An empty Flask route: it parses the JSON and answers a zero for each row. No Flask service of one process does less."""

from typing import Any

from flask import Flask, request

app = Flask(__name__)


@app.get("/ready")
def ready() -> dict[str, Any]:
    return {}


@app.post("/invocations")
def invocations() -> dict[str, Any]:
    return {"predictions": [0] * len(request.get_json()["instances"])}
