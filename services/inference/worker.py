"""gunicorn's threaded worker, answering a request that is no HTTP in the service's own error shape.

gunicorn writes HTML, and 501 for a transfer coding it does not know; the mistake is the client's all the same.
"""

import json
import socket
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker


class JsonErrorWorker(ThreadWorker):
    """A ThreadWorker whose answer to a malformed request is 400 with error_code and message."""

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        body = json.dumps({"error_code": "BAD_REQUEST", "message": f"this is no HTTP request to answer: {exc}"})
        head = (
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        write_nonblock(client, (head + body).encode("latin-1", "replace"))
