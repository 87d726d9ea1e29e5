"""The doctor's row on the certificates that the edge shows, by real handshakes with a server that chooses by name."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from doctor.records import FAIL, OK, WARN, Row
from doctor.stack import certificates

from tests.authority import Authority

NAMES = ("mlflow.factory.test", "models.factory.test")
AT = {"EDGE_URL": " https://*.factory.test", "EDGE_SITES": "mlflow,models"}
Shows = Callable[..., tuple[str, int]]


@pytest.fixture
def shows(tmp_path: Path) -> Iterator[Shows]:
    """A function that starts a server with certificates, by site or `all` → the names in it and its life, and returns its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    authority, contexts = Authority.new(), dict[str, ssl.SSLContext]()

    def start(**shown: tuple[tuple[str, ...], timedelta]) -> tuple[str, int]:
        for site, (names, life) in shown.items():
            authority.issue(tmp_path / site, *names, life=life)
            contexts[site] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            contexts[site].load_cert_chain(tmp_path / site / "certificate.pem", tmp_path / site / "key.pem")
        threading.Thread(target=_serve, args=(listening, contexts)).start()
        return listening.getsockname()

    yield start
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def _serve(listening: socket.socket, contexts: dict[str, ssl.SSLContext]) -> None:
    """Shake hands with who comes, until it is closed; to a name that has no certificate it says so, as Caddy does."""

    def choose(connection: ssl.SSLObject, name: str, _: ssl.SSLContext) -> int | None:
        if (context := contexts.get(name.split(".")[0], contexts.get("all"))) is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = context
        return None

    first = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    first.sni_callback = choose
    with suppress(OSError):
        while True:
            plain, _ = listening.accept()
            with suppress(OSError), first.wrap_socket(plain, server_side=True) as connection:
                connection.recv(1)


def looked(address: tuple[str, int], way: str) -> list[Row]:
    return list(certificates.look(AT | {"TLS": way}, 5, address))


@pytest.mark.parametrize(
    ("way", "life", "status"),
    [
        ("files", timedelta(days=30), OK),
        ("files", timedelta(days=13), WARN),
        ("files", timedelta(minutes=-1), FAIL),
        ("acme", timedelta(days=90), OK),
        ("acme", timedelta(minutes=-1), FAIL),
        ("internal", timedelta(hours=11), OK),  # of 12, as Caddy's own authority gives them
    ],
)
def test_a_certificate_is_judged_by_what_is_left_of_it_and_by_who_renews_it(
    shows: Shows, way: str, life: timedelta, status: str
) -> None:
    both = (NAMES, life)
    row = looked(shows(mlflow=both, models=both), way)[0]
    assert (row.name, row.status) == ("certificate", status)
    assert "mlflow.factory.test" in row.says
    mends = "the renewed certificate and key in their files" if way == "files" else "docker compose logs --tail 50 edge"
    assert row.mend.startswith(mends) if status != OK else row.mend == ""


def test_what_caddy_should_have_renewed_is_told(shows: Shows) -> None:
    both = (("*.factory.test",), timedelta(minutes=15))
    rows = looked(shows(mlflow=both, models=both), "internal")
    assert [row.status for row in rows] == [WARN, WARN]
    assert rows[0].says.endswith("less than an hour from now; Caddy has not renewed it")


def test_one_whose_time_has_not_begun_is_told_with_both_times(tmp_path: Path) -> None:
    Authority.new().issue(tmp_path, *NAMES, life=timedelta(days=30), age=timedelta(days=-2))
    certificate = x509.load_pem_x509_certificate((tmp_path / "certificate.pem").read_bytes())
    row = certificates._judged(certificate, list(NAMES), True, datetime.now(UTC))
    assert row.status == FAIL
    assert "mlflow.factory.test, models.factory.test is valid from " in row.says
    assert " UTC on, and here it is " in row.says


def test_a_certificate_that_all_names_share_is_one_row(shows: Shows) -> None:
    (row,) = looked(shows(all=(("*.factory.test",), timedelta(days=5, hours=1))), "files")
    assert row.says.startswith("that of mlflow.factory.test, models.factory.test is valid until ")
    assert row.says.endswith(" UTC, 5 days from now")


def test_a_name_that_has_none_and_one_that_is_shown_anothers_are_told_apart(shows: Shows) -> None:
    none, others = looked(shows(models=(("mlflow.factory.test",), timedelta(days=30))), "acme")
    assert (none.status, none.says.split(":")[0]) == (FAIL, "the edge has none for mlflow.factory.test")
    assert others == Row(
        "certificate",
        FAIL,
        "the edge shows models.factory.test one for mlflow.factory.test",
        "docker compose logs --tail 50 edge",
    )


def test_an_edge_that_does_not_answer_is_one_row() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    (row,) = looked(address, "files")
    assert (row.status, row.mend) == (FAIL, "docker compose up -d --wait")
    assert row.says.startswith("the edge does not answer to mlflow.factory.test: ")
