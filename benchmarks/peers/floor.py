"""An empty Flask route: it parses the JSON and answers a zero for each row. No Flask service of one process does less."""

from flask import Flask, request

app = Flask(__name__)


@app.get("/ready")
def ready() -> dict:
    return {}


@app.post("/invocations")
def invocations() -> dict:
    return {"predictions": [0] * len(request.get_json()["instances"])}
