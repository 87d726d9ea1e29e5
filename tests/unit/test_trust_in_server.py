"""A server whose certificate a laptop does not know yet."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from trainer.errors import TrackingError
from trainer.tracking import rest

from tests.authority import Authority


def test_a_server_that_is_not_trusted_is_told_with_both_settings_that_name_its_authority(tmp_path: Path) -> None:
    Authority.new().issue(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with pytest.raises(TrackingError) as refused:
                rest.check_reachable(f"https://localhost:{server.server_address[1]}")
        finally:
            server.shutdown()
            thread.join()
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH=FILE and SSL_CERT_FILE=FILE" in str(refused.value)
    assert "docker compose" not in str(refused.value)
