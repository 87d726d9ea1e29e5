"""Single sign-on: what the set-up makes of its settings, whose headers MLflow believes, and which role somebody gets."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import audit
import pytest
from accounts.errors import AccountsError
from accounts.roles import OF_THE_STACK, Account
from accounts.sign_on import Rules, SignOn
from contract.publishing.sign_on import GROUPS, NAME, SECRET, mark
from setup import edge, sign_on
from setup.errors import SetupError

SETTINGS = {
    "LOGIN": "on",
    "SSO": "on",
    "OIDC_ISSUER": "https://id.example.com/realms/factory",
    "OIDC_CLIENT_ID": "mlflow",
    "OIDC_EMAIL_DOMAINS": "example.com, example.org",
    "OIDC_SCOPE": "openid email profile groups",
}
GIVEN: dict[str, str] = {"OIDC_CLIENT_SECRET": "the provider's"}
RIGHT = "the proxy's secret"


# --- the proxy's settings -------------------------------------------------------------------------------------------


def _made(
    given: dict[str, str] = GIVEN, /, **changed: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str | None]]:
    """Return the two files of settings, read, and all files."""
    found = sign_on.files(SETTINGS | changed, given.get)
    return tomllib.loads(str(found["sso/sessions.cfg"])), json.loads(str(found["sso/provider.json"])), found


def test_the_proxy_asks_the_provider_and_tells_mlflow_who_it_is_beside_its_secret() -> None:
    sessions, settings, files = _made()
    assert sessions["email_domains"] == ["example.com", "example.org"]
    (provider,) = settings["providers"]
    assert (provider["clientID"], provider["scope"]) == ("mlflow", "openid email profile groups")
    assert provider["oidcConfig"]["issuerURL"] == "https://id.example.com/realms/factory"
    assert provider["oidcConfig"]["insecureSkipNonce"] is False
    assert files["sso/client-secret"] == "the provider's"
    assert "the provider's" not in str(files["sso/provider.json"]) + str(files["sso/sessions.cfg"])
    told = {header["name"]: header["values"] for header in settings["injectRequestHeaders"]}
    assert told[SECRET] == [{"secretSource": {"fromFile": "/run/secrets/mlflow-secret"}}]
    assert told[NAME] == [{"claimSource": {"claim": "email"}}]
    assert [value["claimSource"] for value in told[GROUPS]] == [
        {"claim": "groups", "prefix": sign_on.MARK},
        {"claim": "email", "prefix": sign_on.MARK},
    ]
    written = sign_on.with_mark(files, RIGHT.encode())
    assert f'"prefix": "{mark(RIGHT.encode())}"' in str(written["sso/provider.json"])
    assert written.keys() == files.keys()
    # What a client sends under these names is dropped.
    assert not any(header.get("preserveRequestValue") for header in settings["injectRequestHeaders"])


@pytest.mark.parametrize(
    ("changed", "secure"),
    [
        ({}, False),
        ({"PUBLIC_URL": "https://*.example.com"}, True),
        ({"EDGE_URL": " https://*.factory.test:443"}, True),
        ({"PUBLIC_URL": "http://*.factory.test"}, False),
    ],
)
def test_the_session_is_kept_from_pages_and_other_sites_and_with_https_from_everything_else(
    changed: dict[str, str], secure: bool
) -> None:
    sessions, _, _ = _made(**changed)
    assert (sessions["cookie_secure"], sessions["cookie_name"].startswith("__Host-")) == (secure, secure)
    assert (sessions["cookie_httponly"], sessions["cookie_samesite"]) == (True, "lax")


def test_the_authority_of_a_provider_comes_and_goes_with_its_file() -> None:
    _, settings, files = _made(GIVEN | {"OIDC_CA": "a certificate"})
    assert settings["providers"][0]["caFiles"] == ["/run/secrets/provider-ca.pem"]
    assert files["sso/provider-ca.pem"] == "a certificate\n"
    _, settings, files = _made()
    assert "caFiles" not in settings["providers"][0]
    assert files["sso/provider-ca.pem"] is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"LOGIN": ""}, "compose.sso.yaml takes compose.login.yaml before it in COMPOSE_FILE"),
        ({"OIDC_ISSUER": ""}, "OIDC_ISSUER is ''; expected the address of the identity provider, https://"),
        ({"OIDC_ISSUER": "http://id.example.com"}, "OIDC_ISSUER is 'http://id.example.com'; expected"),
        ({"OIDC_ISSUER": "id.example.com"}, "OIDC_ISSUER is 'id.example.com'; expected"),
        ({"OIDC_ISSUER": "https://id.example.com/?realm=1"}, "OIDC_ISSUER is 'https://id.example.com/?realm=1'"),
        ({"OIDC_CLIENT_ID": " "}, "OIDC_CLIENT_ID is empty; it is the name"),
        ({"OIDC_EMAIL_DOMAINS": ""}, "OIDC_EMAIL_DOMAINS is empty; expected what stands behind the @"),
        ({"OIDC_EMAIL_DOMAINS": "@example.com"}, "OIDC_EMAIL_DOMAINS has '@example.com'; expected"),
        ({"OIDC_EMAIL_DOMAINS": "example.com anna"}, "OIDC_EMAIL_DOMAINS has 'example.com anna'; expected"),
        ({"OIDC_NAME_CLAIM": ""}, "OIDC_NAME_CLAIM is empty; leave it out to use 'email'"),
        ({"OIDC_GROUPS_CLAIM": ""}, "OIDC_GROUPS_CLAIM is empty; leave it out to use 'groups'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_what_is_expected(changed: dict[str, str], said: str) -> None:
    with pytest.raises(SetupError, match=f"^{re.escape(said)}"):
        _made(**changed)


def test_without_a_client_secret_nobody_could_sign_on() -> None:
    with pytest.raises(SetupError, match="OIDC_CLIENT_SECRET_FILE is not set"):
        _made({})


def test_behind_the_edge_browsers_come_by_the_proxy_and_without_single_sign_on_to_mlflow_itself() -> None:
    settings = {"TLS": "internal", "EDGE_SITES": "mlflow,models", "EDGE_URL": " https://*.example.com:443"}
    sites = str(edge.files(settings | {"SSO": "on"}, lambda name: None)["edge/sites.caddy"])
    assert "https://mlflow.example.com {\n\timport mlflow-sso\n}\n" in sites
    assert "https://models.example.com {\n\timport models\n}\n" in sites
    assert "mlflow-sso" not in str(edge.files(settings, lambda name: None)["edge/sites.caddy"])


# --- whose headers are believed -------------------------------------------------------------------------------------


class People:
    """Accounts and their roles, in the place of MLflow's tables."""

    def __init__(self, **roles: str | None) -> None:
        self.roles = {name.replace("_at_", "@"): role for name, role in roles.items()}

    def find(self, name: str) -> Account | None:
        return Account(name, self.roles[name]) if name in self.roles else None

    def add(self, name: str, role: str) -> str:
        if name in self.roles:
            raise AccountsError(f"{name} exists already")
        self.roles[name] = role
        return "a password"

    def set_role(self, name: str, role: str | None) -> None:
        self.roles[name] = role


def _signing_on(people: People, roles: str = "", default: str = "viewer", secret: bytes = RIGHT.encode()) -> SignOn:
    rules = Rules.from_env({"OIDC_ROLES": roles, "OIDC_DEFAULT_ROLE": default})
    return SignOn(secret, rules, people)


def _headers(name: str, groups: str = "", secret: str | None = RIGHT) -> dict[str, str]:
    marked = ",".join(mark(RIGHT.encode()) + group for group in [*filter(None, groups.split(",")), name])
    return ({} if secret is None else {SECRET: secret}) | {NAME: name, GROUPS: marked}


@pytest.mark.parametrize(
    "secret", [None, "", " ", RIGHT[:-1], RIGHT + " ", RIGHT.upper(), f"{RIGHT},{RIGHT}", "\xff\u20ac", "\0"]
)
def test_who_does_not_show_the_proxys_secret_is_nobody_whatever_name_they_write(secret: str | None) -> None:
    gate = _signing_on(People())
    assert gate.person(_headers("anna@example.com", secret=secret)) is None
    assert gate.person(_headers("anna@example.com")) == "anna@example.com"


@pytest.mark.parametrize("shown", [None, "", "anything"])
def test_a_secret_that_is_empty_is_shown_by_nobody(shown: str | None) -> None:
    assert _signing_on(People(), secret=b"").person(_headers("anna@example.com", secret=shown)) is None


def test_without_the_overlay_nobody_is_believed() -> None:
    assert SignOn.from_env({}, People()) is None
    assert SignOn.from_env({"SIGN_ON_SECRET_FILE": ""}, People()) is None


def test_the_proxy_that_names_nobody_vouches_for_nobody() -> None:
    assert _signing_on(People()).person(_headers(" ")) is None
    assert _signing_on(People()).person({SECRET: RIGHT}) is None


@pytest.mark.parametrize("name", [*OF_THE_STACK, *(name.upper() for name in OF_THE_STACK)])
def test_nobody_signs_on_as_an_account_of_the_stack(name: str) -> None:
    gate = _signing_on(People(**dict.fromkeys(OF_THE_STACK, "admin")), "admins=admin")
    person = gate.person(_headers(name))
    assert person == name.lower()
    assert "nobody signs on as it" in str(gate.refusal(person, _headers(name, "admins")))


@pytest.mark.parametrize(
    "name",
    [
        "anna@example.com,admin",
        "anna, admin",
        "a:b",
        "é@example.com",
        "__user_1__",
        "a" * 65,
        " anna",
        "an\u212a@example.com",
    ],
)
def test_a_name_that_no_account_can_have_is_refused_in_words_and_makes_none(name: str) -> None:
    people = People()
    gate = _signing_on(people, "admins=admin")
    person = str(gate.person(_headers(name, "admins")))
    assert "is no name of an account; expected up to 64 letters" in str(gate.refusal(person, _headers(name, "admins")))
    assert people.roles == {}


# --- which role somebody gets ---------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Callable[[], list[tuple[Any, ...]]]]:
    path = tmp_path / "audit.jsonl"
    audit.begin(str(path), "identity provider")
    yield lambda: [
        (line["of"], line["from"], line["to"], line["why"])
        for line in map(json.loads, path.read_text().splitlines() if path.exists() else [])
    ]
    audit._settings.clear()


def test_who_is_new_gets_the_default_role_once_and_it_is_kept_by_accounts_from_then_on(log: Any) -> None:
    people = People()
    gate = _signing_on(people)
    headers = _headers("Anna@Example.com", "ml-admins")
    name = str(gate.person(headers))
    assert gate.refusal(name, headers) is None
    assert people.roles == {"anna@example.com": "viewer"}
    people.roles["anna@example.com"] = "promoter"  # accounts role anna@example.com promoter
    assert gate.refusal(name, headers) is None
    assert people.roles == {"anna@example.com": "promoter"}
    assert log() == [("anna@example.com", None, "viewer", "by OIDC_DEFAULT_ROLE")]


def test_where_groups_give_roles_the_first_of_them_counts_each_time_that_somebody_comes(log: Any) -> None:
    people = People()
    gate = _signing_on(people, " ml-team = scientist, cn=ml=promoter ,ml-admins=admin", "none")

    def come(groups: str) -> str | None:
        assert (gate.refusal("anna", _headers("anna", groups)) is None) == bool(people.roles.get("anna"))
        return people.roles.get("anna")

    assert [
        come(groups) for groups in ("", "ml-admins2,ML-TEAM", "x,ml-team,ml-admins", "cn=ml", "cn=ml", "ml-admins", "")
    ] == [
        *(None, None, "scientist", "promoter", "promoter", "admin", None),
    ]
    assert log() == [
        ("anna", None, "scientist", "in the group ml-team"),
        ("anna", "scientist", "promoter", "in the group cn=ml"),
        ("anna", "promoter", "admin", "in the group ml-admins"),
        ("anna", "admin", None, "by OIDC_DEFAULT_ROLE"),
    ]


@pytest.mark.parametrize(
    "name", ["hobby,ml-admins", " ml-admins", "ml-admins ", ",ml-admins", "ml-admins,", "x:ml-admins"]
)
def test_a_name_that_somebody_gave_a_group_of_theirs_is_no_other_group(name: str) -> None:
    people, before = People(), mark(RIGHT.encode())
    headers = _headers("anna") | {GROUPS: f"{before}others,{before}{name},{before}anna"}
    assert _signing_on(people, "ml-admins=admin").refusal("anna", headers) is None
    assert people.roles == {"anna": "viewer"}
    assert _signing_on(people, "others=promoter").refusal("anna", headers) is None
    assert people.roles == {"anna": "promoter"}


def test_who_has_left_the_groups_is_what_everybody_is() -> None:
    people = People(anna="promoter")
    assert _signing_on(people, "ml-team=promoter").refusal("anna", _headers("anna", "others")) is None
    assert people.roles == {"anna": "viewer"}


def test_a_group_of_another_alphabet_is_the_same_as_in_the_settings() -> None:
    people = People()
    groups = "forschung,études".encode().decode("latin-1")  # as WSGI has it
    assert _signing_on(people, "études=scientist").refusal("anna", _headers("anna", groups)) is None
    assert people.roles == {"anna": "scientist"}


def test_who_is_not_let_in_is_told_why_and_what_an_admin_can_do(log: Any) -> None:
    people = People()
    said = str(_signing_on(people, default="none").refusal("anna", _headers("anna")))
    assert said.startswith("you have signed on as anna, who has no role here: ")
    assert said.endswith("docker compose run --rm accounts add anna --role viewer")
    people.add("anna", "viewer")
    assert _signing_on(people, default="none").refusal("anna", _headers("anna")) is None
    assert log() == []


def test_who_is_made_by_another_process_meanwhile_is_let_in_and_noted_once(log: Any) -> None:
    class Late(People):
        def find(self, name: str) -> Account | None:
            return None

    people = Late(anna="viewer")
    assert _signing_on(people).refusal("anna", _headers("anna")) is None
    assert log() == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"OIDC_ROLES": "ml-team"}, "OIDC_ROLES has 'ml-team'; expected GROUP=ROLE"),
        ({"OIDC_ROLES": "a=viewer,=admin"}, "OIDC_ROLES has '=admin'; expected GROUP=ROLE"),
        ({"OIDC_ROLES": "ml-team=root"}, "OIDC_ROLES has 'ml-team=root'; expected GROUP=ROLE"),
        ({"OIDC_ROLES": "ml-team=trainer"}, "OIDC_ROLES has 'ml-team=trainer'; expected GROUP=ROLE"),
        ({"OIDC_DEFAULT_ROLE": "admin"}, "OIDC_DEFAULT_ROLE is 'admin'; expected viewer or none"),
    ],
)
def test_a_role_that_nobody_can_have_is_told(changed: dict[str, str], said: str) -> None:
    with pytest.raises(AccountsError, match=f"^{re.escape(said)}"):
        Rules.from_env(changed)
