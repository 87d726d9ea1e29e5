"""Whom Alertmanager (compose.monitoring.yaml) tells of alerts: its configuration, made of the settings in .env, and its secrets."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from contract.settings import Reader

from setup.errors import SetupError

VOLUME = "alertmanager"
SECRETS = "/run/secrets"
# Alerts of one group are told together, and again after so long where they last.
GROUPED = {"group_by": ["alertname", "job"], "group_wait": "10s", "group_interval": "5m", "repeat_interval": "12h"}

Files = dict[str, str | None]


def files(environ: Mapping[str, str], given: Callable[[str], str | None]) -> Files:
    """Return each file's name and content, None where it must not be there; `given` reads a file of the user's.

    Raises SetupError where a setting cannot be used.
    """
    webhook, password = _webhook(environ, given), given("ALERT_SMTP_PASSWORD")
    receiver: dict[str, Any] = {"name": "people"}
    if webhook:
        receiver["webhook_configs"] = [{"url_file": f"{SECRETS}/webhook-url", "send_resolved": True}]
    if email := _email(Reader(environ, SetupError), environ, has_password=password is not None):
        receiver["email_configs"] = [email]
    settings = {"route": {"receiver": "people", **GROUPED}, "receivers": [receiver]}
    return {
        f"{VOLUME}/alertmanager.yml": json.dumps(settings, indent=1) + "\n",
        f"{VOLUME}/webhook-url": webhook,
        f"{VOLUME}/smtp-password": password,
        # An API key with the scope metrics, where the prediction service asks for one; Prometheus reads it each time.
        "prometheus/inference-key": given("METRICS_API_KEY") or "none",
    }


def _webhook(environ: Mapping[str, str], given: Callable[[str], str | None]) -> str | None:
    """Return where alerts are posted, None where they are not; an address with a secret in it is given as a file."""
    url = given("ALERT_WEBHOOK_URL") or environ.get("ALERT_WEBHOOK_URL", "").strip()
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or url.split() != [url]:
        raise SetupError("ALERT_WEBHOOK_URL is no address; expected http://… or https://…, to which alerts are posted")
    return url


def _email(read: Reader, environ: Mapping[str, str], *, has_password: bool) -> dict[str, Any] | None:
    """Return whom alerts are sent to by e-mail, None where nobody is named."""
    people = sorted(read.names("ALERT_EMAIL_TO"))
    if not people:
        return None
    if unusable := [name for name in people if name.count("@") != 1 or name.split() != [name]]:
        raise SetupError(
            f"ALERT_EMAIL_TO has {unusable[0]!r}; expected addresses such as ops@example.com, with commas between"
        )
    server = environ.get("ALERT_SMTP_SERVER", "").strip()
    host, _, port = server.rpartition(":")
    if not host or not port.isdigit():
        raise SetupError(
            f"ALERT_SMTP_SERVER is {server!r}; expected HOST:PORT of a mail server, such as mail.example.com:587"
        )
    user = environ.get("ALERT_SMTP_USER", "").strip()
    if user and not has_password:
        raise SetupError(
            "ALERT_SMTP_USER is set, and ALERT_SMTP_PASSWORD_FILE is not; it names the file with the password"
        )
    login = {"auth_username": user, "auth_password_file": f"{SECRETS}/smtp-password"} if user else {}
    return {
        "to": ", ".join(people),
        "from": environ.get("ALERT_EMAIL_FROM", "").strip() or people[0],
        "smarthost": server,
        "require_tls": read.choice("ALERT_SMTP_TLS", "true", "true", "false") == "true",
        "send_resolved": True,
        **login,
    }
