#!/usr/bin/env python3
"""Ask the inference service about three flowers, on every endpoint. Needs only `requests`; copy it.

    python examples/predict_test.py [http://localhost:1235]

Without an address it is that of the stack in this repository, by the settings in the environment and in .env. Where the service asks for
an API key, the variable API_KEY has it. The exit code is 0 when every answer is what it should be, else 1.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import requests

COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
SAMPLES = [[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [6.3, 3.3, 6.0, 2.5]]
EXPECTED_NUMBERS = [0, 1, 2]
EXPECTED_NAMES = ["setosa", "versicolor", "virginica"]
ENV_FILE = Path(__file__).resolve().parent.parent / ".env"
OWN = ("", "127.0.0.1", "0.0.0.0", "::1", "[::1]", "::", "[::]")  # noqa: S104 - whom it answers is looked at
HEADERS = {"Authorization": f"Bearer {os.environ['API_KEY']}"} if "API_KEY" in os.environ else {}


def main(url: str) -> int:
    faults = []
    try:
        for path in ("/", "/health", "/ready", "/version"):
            answer = requests.get(url + path, headers=HEADERS, timeout=10)
            print(f"GET  {path:<15} {answer.status_code}")
            if answer.status_code != 200:
                faults.append(f"GET {path} answered {answer.status_code}: {answer.text.strip()}")
        as_lists = {"instances": SAMPLES}
        as_records = {"instances": [dict(zip(COLUMNS, sample, strict=True)) for sample in SAMPLES]}
        numbers = post(url, "/invocations", as_lists)["predictions"]
        numbers_from_records = post(url, "/invocations", as_records)["predictions"]
        named = post(url, "/predict_names", as_lists)
    except (requests.RequestException, KeyError) as error:
        print(f"\nNo usable answer from {url}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1

    print(f"\n{'measurements':<22} {'class':>5}  {'name':<12} probability")
    for sample, number, name, shares in zip(
        SAMPLES, numbers, named["predictions"], named["probabilities"], strict=True
    ):
        print(f"{' '.join(map(str, sample)):<22} {number:>5}  {name:<12} {shares[name]:.1%}")

    if not numbers == numbers_from_records == EXPECTED_NUMBERS:
        faults.append(f"expected the classes {EXPECTED_NUMBERS}, got {numbers} and, as records, {numbers_from_records}")
    if named["predictions"] != EXPECTED_NAMES:
        faults.append(f"expected the names {EXPECTED_NAMES}, got {named['predictions']}")
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)
    print("\nAll as expected." if not faults else f"\n{len(faults)} wrong.")
    return 1 if faults else 0


def post(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = requests.post(url + path, json=body, headers=HEADERS, timeout=10)
    print(f"POST {path:<15} {answer.status_code}")
    if answer.status_code == 401:
        raise requests.HTTPError("it asks for an API key: API_KEY=… before the command (docs/api-keys.md)")
    answer.raise_for_status()
    return answer.json()


def url_of_the_stack() -> str:
    """Return where the settings say that the service listens: the environment's, else those in .env, else the defaults."""
    lines = ENV_FILE.read_text().splitlines() if ENV_FILE.exists() else []
    found = [re.fullmatch(r"\s*(?:export\s+)?(\w+)\s*=\s*(['\"]?)(.*?)\2\s*(?:\s#.*)?", line) for line in lines]
    settings = {match[1]: match[3] for match in found if match} | os.environ
    host, port = settings.get("BIND_ADDRESS", ""), settings.get("INFERENCE_PORT", "") or "1235"
    if host in OWN:  # this machine is among those that are answered
        host = "localhost"
    elif names := settings.get("PUBLIC_HOST"):  # it answers to its names, and to no other
        host = names.split(",")[0].strip()
    return f"http://{host}:{port}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/") if len(sys.argv) > 1 else url_of_the_stack()))
