"""A file of labels, sent to the prediction service: it knows what a label may be, and keeps them where its predictions are."""

import csv
import io
import re
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from inference.errors import LabelsUnusable, SettingsError

COLUMNS = ("request_id", "row", "label")
# Labels that are sent in one request, which others need not wait for; how often one is sent that is put off; and seconds.
BATCH, TRIES, MOST_WAIT, TIMEOUT = 1000, 5, 10.0, 30.0
PUT_OFF = (429, 503)


def read(content: bytes) -> list[dict[str, Any]]:
    """Return the labels of a file: Parquet, JSON lines, or CSV with a line of names; raise LabelsUnusable where it is none of them."""
    found: list[Any]
    try:
        if content.startswith(b"PAR1"):
            found = pq.read_table(io.BytesIO(content)).to_pylist()
        elif content.lstrip().startswith(b"{"):
            found = [orjson.loads(line) for line in content.splitlines() if line.strip()]
        else:
            found = list(_lines(content.decode("utf-8-sig")))
    except (ValueError, csv.Error, OSError, pa.ArrowException) as error:
        raise LabelsUnusable(f"it is neither Parquet nor CSV nor JSON lines: {error}") from error
    if not found:
        raise LabelsUnusable("there is no label in it")
    for number, one in enumerate(found, 1):
        names = list(map(str, one)) if isinstance(one, dict) else ["no names"]
        if not {"request_id", "label"} <= set(names) <= set(COLUMNS):
            raise LabelsUnusable(
                f"label {number} has {', '.join(names)}; expected {', '.join(COLUMNS)}, of which row may be left out"
            )
    return found


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in csv.DictReader(io.StringIO(text), strict=True, restkey="more"):
        yield {name: value if name == "request_id" else _value(value) for name, value in line.items()}


def _value(text: Any) -> Any:
    """Return what a cell of CSV says: a number, true or false where it can be one, else text."""
    try:
        return orjson.loads(text)
    except ValueError:
        return text


class Sender:
    """Sends labels to a prediction service."""

    def __init__(self, url: str, key: str | None) -> None:
        """Raise SettingsError where the address is none."""
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.netloc:
            raise SettingsError(f"INFERENCE_URL is {url!r}; expected http(s)://HOST[:PORT]")
        self._url, self._path = url, f"{address.path.rstrip('/')}/labels"
        make = HTTPSConnection if address.scheme == "https" else HTTPConnection
        self._connection = make(address.netloc, timeout=TIMEOUT)
        self._headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})

    def send(self, labels: list[dict[str, Any]]) -> dict[str, int]:
        """Send labels, some at a time; return how many were taken, of them with a key, and again.

        Raises LabelsUnusable where some are refused, with how many were taken before.
        """
        taken = {"accepted": 0, "repeated": 0, "trusted": 0}
        for start in range(0, len(labels), BATCH):
            try:
                answer = self._sent(labels[start : start + BATCH], start)
            except LabelsUnusable as error:
                before = f"; the {start} before were taken, and may be sent again" if start else ""
                raise LabelsUnusable(f"{error}{before}") from None
            taken["accepted"] += answer["accepted"]
            taken["repeated"] += answer["repeated"]
            taken["trusted"] += answer["accepted"] if answer["trusted"] else 0
        return taken

    def _sent(self, labels: list[dict[str, Any]], start: int) -> dict[str, Any]:
        try:
            body = orjson.dumps({"labels": labels})
        except TypeError as error:  # Parquet has types that JSON has not
            raise LabelsUnusable(f"they cannot be sent: {error}") from error
        status, content, seconds = self._answer(body)
        for _ in range(TRIES - 1):
            if status not in PUT_OFF:
                break
            time.sleep(min(seconds, MOST_WAIT))
            status, content, seconds = self._answer(body)
        if status == 200:
            return content
        raise LabelsUnusable(_placed(str(content.get("message", f"{self._url} answered {status}")), start))

    def _answer(self, body: bytes) -> tuple[int, dict[str, Any], float]:
        """Return the status of an answer, its JSON, and the seconds after which to ask again."""
        try:
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            content = orjson.loads(answer.read())
        except (OSError, HTTPException, ValueError) as error:
            self._connection.close()
            raise LabelsUnusable(f"{self._url} takes no labels: {error}") from error
        return answer.status, content, float(answer.headers.get("Retry-After") or 1)


def _placed(message: str, start: int) -> str:
    """Return a message of the service with the number of the label in the file, in the place of that in the request."""

    def number(found: re.Match[str]) -> str:
        field = found[2] or "label"
        return f"label {start + int(found[1]) + 1}" + ("" if field == "label" else f", its {field}")

    return re.sub(r"^labels\[(\d+)\](?:\.(\w+))?", number, message)
