"""Whom Alertmanager tells: the configuration that the secrets job makes of the settings, and what it refuses."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from setup import alerting
from setup.errors import SetupError

from tests.unit.compose_files import services_of

EMAIL = {"ALERT_EMAIL_TO": "ops@example.com, ann@example.com", "ALERT_SMTP_SERVER": "mail.example.com:587"}
ROOT = Path(__file__).parents[2]


def receiver(environ: Mapping[str, str], **given: str) -> dict[str, Any]:
    made = alerting.files(environ, given.get)["alertmanager/alertmanager.yml"]
    assert made
    (found,) = json.loads(made)["receivers"]
    return dict(found)


def test_without_a_setting_alerts_are_shown_and_nobody_is_told() -> None:
    assert receiver({}) == {"name": "people"}


def test_the_address_that_alerts_are_posted_to_stands_in_a_file_alone() -> None:
    url = {"ALERT_WEBHOOK_URL": "https://a.test/x"}
    nothing: dict[str, str] = {}
    for environ, given in ((url, nothing), (nothing, url)):
        made = alerting.files(environ, given.get)
        assert made["alertmanager/webhook-url"] == "https://a.test/x"
        assert "a.test" not in (made["alertmanager/alertmanager.yml"] or "")
        assert receiver(environ, **given)["webhook_configs"] == [
            {"url_file": "/run/secrets/webhook-url", "send_resolved": True}
        ]


def test_mail_goes_to_all_who_are_named_by_tls_and_the_password_stands_in_a_file_alone() -> None:
    environ = EMAIL | {"ALERT_SMTP_USER": "stack"}
    (mail,) = receiver(environ, ALERT_SMTP_PASSWORD="of the server")["email_configs"]
    assert (mail["to"], mail["from"]) == ("ann@example.com, ops@example.com", "ann@example.com")
    assert (mail["smarthost"], mail["require_tls"]) == ("mail.example.com:587", True)
    assert (mail["auth_username"], mail["auth_password_file"]) == ("stack", "/run/secrets/smtp-password")
    made = alerting.files(environ, {"ALERT_SMTP_PASSWORD": "of the server"}.get)
    assert [name for name, content in made.items() if "of the server" in (content or "")] == [
        "alertmanager/smtp-password"
    ]


def test_prometheus_has_the_api_key_that_is_given_and_always_a_file() -> None:
    assert alerting.files({}, {"METRICS_API_KEY": "mlstack_x"}.get)["prometheus/inference-key"] == "mlstack_x"
    assert alerting.files({}, lambda _: None)["prometheus/inference-key"]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"ALERT_WEBHOOK_URL": "chat.example.com"}, "ALERT_WEBHOOK_URL is no address; expected http://… or https://…"),
        ({"ALERT_EMAIL_TO": "ops"}, "ALERT_EMAIL_TO has 'ops'; expected addresses such as ops@example.com"),
        ({"ALERT_EMAIL_TO": "a@b.c"}, "ALERT_SMTP_SERVER is ''; expected HOST:PORT"),
        (EMAIL | {"ALERT_SMTP_SERVER": "mail.example.com"}, "expected HOST:PORT of a mail server"),
        (EMAIL | {"ALERT_SMTP_USER": "a"}, "ALERT_SMTP_PASSWORD_FILE is not; it names the file with the password"),
        (EMAIL | {"ALERT_SMTP_TLS": "no"}, "ALERT_SMTP_TLS is 'no'; expected true or false"),
    ],
)
def test_a_setting_that_would_tell_nobody_is_refused_with_what_is_expected(
    environ: dict[str, str], reason: str
) -> None:
    with pytest.raises(SetupError) as caught:
        receiver(environ)
    assert reason in str(caught.value)


def test_a_setting_that_is_changed_makes_a_new_alertmanager() -> None:
    """It reads its configuration at its start."""
    services = services_of("compose.monitoring.yaml")
    assert services["alertmanager"]["environment"] == services["secrets"]["environment"]


def test_whoever_has_no_login_is_reached_on_this_machine_alone() -> None:
    services = services_of("compose.monitoring.yaml")
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
