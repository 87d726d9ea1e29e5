"""Healthy means that a client gets an answer: an API call that reads the database, under the name that clients use.

/health alone would not do: MLflow answers it with 200 also when it refuses every client for its Host header.
"""

import sys
from base64 import b64encode
from http.client import HTTPConnection
from os import environ
from pathlib import Path

headers = {"Host": environ["MLFLOW_CLIENT_HOST"]}
if file := environ.get("HEALTHCHECK_PASSWORD_FILE"):  # where MLflow asks for a login
    login = f"healthcheck:{Path(file).read_text()}"
    headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
connection = HTTPConnection("127.0.0.1", 5000, timeout=5)
connection.request("GET", "/api/2.0/mlflow/experiments/search?max_results=1", headers=headers)
answer = connection.getresponse()
if answer.status != 200:
    sys.exit(f"{answer.status} to Host {environ['MLFLOW_CLIENT_HOST']}: {answer.read(500).decode(errors='replace')}")
