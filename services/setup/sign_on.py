"""What the proxy of single sign-on (compose.sso.yaml) reads: oauth2-proxy's two files of settings, made of those in .env."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from contract.publishing.addresses import addresses
from contract.publishing.sign_on import GROUPS, NAME, SECRET, mark
from contract.settings import Reader

from setup.errors import SetupError

VOLUME = "sso"
# In the place of what is known when the secret is made.
MARK = "(the mark of a group)"
SECRETS = "/run/secrets"
DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.I)


def is_on(environ: Mapping[str, str]) -> bool:
    """Tell whether compose.sso.yaml is among the compose files."""
    return environ.get("SSO") == "on"


def files(environ: Mapping[str, str], given: Callable[[str], str | None]) -> dict[str, str | None]:
    """Return each file's name and content, None where it must not be there; `given` reads a file of the user's.

    Raises SetupError where a setting cannot be used.
    """
    if environ.get("LOGIN") != "on":
        raise SetupError(
            "compose.sso.yaml takes compose.login.yaml before it in COMPOSE_FILE, whose accounts and roles it gives"
        )
    client_secret, authority = given("OIDC_CLIENT_SECRET"), given("OIDC_CA")
    if not client_secret:
        raise SetupError(
            "OIDC_CLIENT_SECRET_FILE is not set; it names the file with the secret that the identity provider gave out"
        )
    return {
        f"{VOLUME}/client-secret": client_secret,
        f"{VOLUME}/provider-ca.pem": authority and authority + "\n",
        f"{VOLUME}/sessions.cfg": _sessions(environ),
        f"{VOLUME}/provider.json": _provider(environ, has_authority=bool(authority)),
    }


def with_mark(made: Mapping[str, str | None], secret: bytes) -> dict[str, str | None]:
    """Return the files with what stands before each group, by which MLflow tells one from another."""
    return {name: content and content.replace(MARK, mark(secret)) for name, content in made.items()}


def _sessions(environ: Mapping[str, str]) -> str:
    """Return who is let in and what their browsers keep, in TOML."""
    secure = _is_https(environ)
    settings = {
        "email_domains": _domains(Reader(environ, SetupError)),
        # With this prefix a browser takes the cookie from this very host by HTTPS alone, and gives it to no other.
        "cookie_name": "__Host-mlflow" if secure else "mlflow",
        "cookie_secret_file": f"{SECRETS}/cookie-secret",
        "cookie_secure": secure,
        "cookie_httponly": True,
        # It comes along on a link from elsewhere, the way back from the provider among them, and with no request of another's page.
        "cookie_samesite": "lax",
        "cookie_expire": "12h",
        # Then the provider is asked again: who is gone there is gone here, and who is in another group is so here.
        "cookie_refresh": "1h",
        # What a page asks for is answered 401, and not sent to where somebody signs on.
        "api_routes": ["^/ajax-api/", "^/graphql"],
        # A sign-out may lead there.
        "whitelist_domains": [urlsplit(_issuer(environ)).netloc],
        "footer": "-",
        "request_logging": False,
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def _provider(environ: Mapping[str, str], *, has_authority: bool) -> str:
    """Return who says who somebody is, and what MLflow is told of it, in what oauth2-proxy calls its alpha configuration."""
    read = Reader(environ, SetupError)
    if not (client := environ.get("OIDC_CLIENT_ID", "").strip()):
        raise SetupError("OIDC_CLIENT_ID is empty; it is the name under which the identity provider knows this stack")
    provider: dict[str, Any] = {
        "id": "provider",
        "provider": "oidc",
        "name": urlsplit(_issuer(environ)).hostname,
        "clientID": client,
        "clientSecretFile": f"{SECRETS}/client-secret",
        "code_challenge_method": "S256",
        "scope": read.text("OIDC_SCOPE", "openid email profile"),
        "oidcConfig": {
            "issuerURL": _issuer(environ),
            "emailClaim": read.text("OIDC_NAME_CLAIM", "email"),
            "groupsClaim": read.text("OIDC_GROUPS_CLAIM", "groups"),
            "audienceClaims": ["aud"],
            "insecureSkipNonce": False,
        },
    }
    if has_authority:
        provider["caFiles"] = [f"{SECRETS}/provider-ca.pem"]
    # MLflow closes what is idle for five seconds, so no connection is kept.
    upstream: dict[str, Any] = {"id": "mlflow", "path": "/", "uri": "http://mlflow:5000", "disableKeepAlives": True}
    upstream["timeout"] = "10m"
    settings = {
        "server": {"bindAddress": "0.0.0.0:4180"},
        "upstreamConfig": {"proxyRawPath": True, "upstreams": [upstream]},
        "injectRequestHeaders": _told(),
        "providers": [provider],
    }
    return json.dumps(settings, indent=1) + "\n"


def _told() -> list[dict[str, Any]]:
    """Return the headers in which MLflow is told who asks; what a client sends under these names is dropped."""
    return [
        {"name": SECRET, "values": [{"secretSource": {"fromFile": f"{SECRETS}/mlflow-secret"}}]},
        {"name": NAME, "values": [{"claimSource": {"claim": "email"}}]},
        {
            "name": GROUPS,
            "values": [{"claimSource": {"claim": claim, "prefix": MARK}} for claim in ("groups", "email")],
        },
    ]


def _issuer(environ: Mapping[str, str]) -> str:
    issuer = environ.get("OIDC_ISSUER", "").strip()
    parts = urlsplit(issuer)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise SetupError(
            f"OIDC_ISSUER is {issuer!r}; expected the address of the identity provider, https://…, of which "
            "/.well-known/openid-configuration tells the rest"
        )
    return issuer


def _domains(read: Reader) -> list[str]:
    domains = sorted(read.names("OIDC_EMAIL_DOMAINS"))
    for domain in domains:
        if domain != "*" and not DOMAIN.fullmatch(domain):
            raise SetupError(
                f"OIDC_EMAIL_DOMAINS has {domain!r}; expected what stands behind the @, such as example.com"
            )
    if not domains:
        raise SetupError(
            "OIDC_EMAIL_DOMAINS is empty; expected what stands behind the @ in the addresses of those who are let in, such as "
            "example.com, with commas between, or * for everybody whom the identity provider knows"
        )
    return domains


def _is_https(environ: Mapping[str, str]) -> bool:
    """Tell whether browsers come by HTTPS: by the edge, or by a proxy that PUBLIC_URL tells of."""
    public = environ.get("EDGE_URL") or environ.get("PUBLIC_URL", "")
    return any(address.origin.startswith("https:") for address in addresses("PUBLIC_URL", public, "mlflow", SetupError))
