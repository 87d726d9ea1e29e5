"""A real MLflow behind the proxy of single sign-on: it believes who shows the proxy's secret, and nobody else's headers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from contract.publishing.sign_on import GROUPS, NAME, SECRET, mark

from tests.integration.accounts import APIS, MODEL, Client, World, commands, running_world

SERVICES = Path(__file__).parents[2] / "services"
RIGHT = "what only the proxy and MLflow know"
ANNA = "anna@example.com"
ROLES = "ml-admins=admin,ml-promoters=promoter,ml-team=scientist"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("sign-on")
    (folder / "secret").write_text(RIGHT)
    settings = {"SIGN_ON_SECRET_FILE": str(folder / "secret"), "OIDC_ROLES": ROLES}
    settings |= {"AUDIT_FILE": str(folder / "audit.jsonl"), "AUDIT_WHO": "identity provider"}
    with running_world(folder, **settings) as world:
        yield world


class Proxied(Client):
    """Somebody whom the proxy brings, or who says so."""

    def __init__(self, url: str, **headers: str) -> None:
        super().__init__(url, "", "")
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def raw(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return requests.request(method, f"{self.url}/{path}", headers=headers, timeout=30, **options)


def signed_on(world: World, name: str, *groups: str, **more: str) -> Proxied:
    proxied = Proxied(world.url)
    proxied.headers = {
        SECRET: RIGHT,
        NAME: name,
        GROUPS: ",".join(mark(RIGHT.encode()) + group for group in (*groups, name)),
        **more,
    }
    return proxied


def current(client: Client) -> tuple[int, Any]:
    answer = client.ask("GET", "users/current")
    return answer.status_code, answer.json()["user"]["username"] if answer.ok else answer.text


def routes(world: World, client: Client) -> Iterator[requests.Response]:
    """Ask for something on each kind of route: of Flask, of the file proxy, and of the web server itself."""
    for api in APIS:
        yield client.ask("GET", "experiments/get", api, experiment_id=world.experiment)
        yield client.ask("POST", "runs/search", api, experiment_ids=[world.experiment])
        yield client.raw("GET", f"{api}/2.0/mlflow-artifacts/artifacts/{world.files}/file.txt")
        yield client.raw("PUT", f"{api}/2.0/mlflow-artifacts/artifacts/{world.files}/new.txt", data=b"theirs")
        yield client.ask("POST", "registered-models/alias", api, name=MODEL, alias="Production", version="2")
    yield client.raw("GET", f"get-artifact?run_uuid={world.run}&path=file.txt")
    yield client.raw("POST", "graphql", json={"query": "{ __typename }"})
    yield client.raw("GET", "")


FORGED = [
    {NAME: "admin"},
    {NAME: ANNA, GROUPS: "ml-admins"},
    {SECRET: "", NAME: "admin", GROUPS: "ml-admins"},
    {SECRET: "a guess", NAME: ANNA, GROUPS: "ml-admins"},
    {SECRET: RIGHT[:-1], NAME: ANNA},
    {SECRET: RIGHT + "x", NAME: ANNA},
    {SECRET: RIGHT.upper(), NAME: ANNA},
    {SECRET: f"{RIGHT},", NAME: ANNA},
    {SECRET: "\xe9\xff", NAME: ANNA},
    {SECRET.replace("-", "_"): "a guess", NAME.replace("-", "_"): ANNA},
    {"X-Forwarded-User": "admin", "X-Forwarded-Email": ANNA, "X-Forwarded-Groups": "ml-admins"},
    {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Remote-User": "admin", "X-Auth-Request-User": "admin"},
    {"Authorization": f"Bearer {RIGHT}", NAME: ANNA},
    {"Cookie": f"{SECRET}={RIGHT}; __Host-mlflow=x; mlflow=x", NAME: ANNA},
]


@pytest.mark.parametrize("headers", FORGED, ids=range(len(FORGED)))
def test_whoever_comes_past_the_proxy_is_a_stranger_whatever_headers_they_write(
    world: World, headers: dict[str, str]
) -> None:
    forger = Proxied(world.url)
    forger.headers = headers
    assert {answer.status_code for answer in routes(world, forger)} == {401}
    assert world.in_production() == "1"


def test_what_is_forged_beside_a_password_makes_nobody_else_of_its_owner(world: World) -> None:
    viewer = world.clients["viewer"]
    for headers in FORGED:
        kept = {name: value for name, value in headers.items() if name != "Authorization"}
        answer = viewer.raw("GET", "api/2.0/mlflow/users/current", headers=kept)
        assert (answer.status_code, answer.json()["user"]["username"]) == (200, "viewer")
        alias = {"name": MODEL, "alias": "Production", "version": "2"}
        assert viewer.raw("POST", "api/2.0/mlflow/registered-models/alias", headers=kept, json=alias).status_code == 403


def test_who_has_signed_on_is_an_account_of_that_name_who_reads_and_does_nothing_else(world: World) -> None:
    anna = signed_on(world, "Anna@Example.com")
    assert current(anna) == (200, ANNA)
    reads, writes = [200, 200, 200], [403, 403]
    assert [answer.status_code for answer in routes(world, anna)] == [*(2 * (reads + writes)), 200, 200, 200]
    assert world.in_production() == "1"
    (listed, _) = commands(world.place, "list")[0]
    assert f"{ANNA:<24}  viewer\n" in listed


def test_a_group_gives_the_role_and_takes_it_away_and_the_audit_log_says_so(world: World) -> None:
    name = "bob@example.com"
    made = {"experiment_id": world.experiment}
    alias = {"name": MODEL, "alias": "Production", "version": "2"}
    scientist = signed_on(world, name, "others", "ml-team")
    assert scientist.ask("POST", "runs/create", **made).status_code == 200
    assert (
        scientist.raw("PUT", f"api/2.0/mlflow-artifacts/artifacts/{world.files}/bobs.txt", data=b"his").status_code
        == 200
    )
    assert scientist.ask("POST", "registered-models/alias", **alias).status_code == 403
    promoter = signed_on(world, name, "ml-promoters", "ml-team")
    assert promoter.ask("POST", "registered-models/alias", **alias).status_code == 200
    assert promoter.ask("POST", "registered-models/alias", **alias | {"version": "1"}).status_code == 200
    assert promoter.ask("POST", "runs/create", **made).status_code == 403
    admin = signed_on(world, name, "ml-admins")
    assert admin.ask("POST", "users/create", username="new", password="the password of new").status_code == 200
    viewer = signed_on(world, name)
    assert viewer.ask("POST", "users/create", username="newer", password="the password of new").status_code == 403
    lines = map(json.loads, (world.place.folder.parent / "audit.jsonl").read_text().splitlines())
    changes = [(line["who"], line["from"], line["to"], line["by"], line["why"]) for line in lines if line["of"] == name]
    by = ("identity provider", "single sign-on")
    assert changes == [
        (by[0], None, "scientist", by[1], "in the group ml-team"),
        (by[0], "scientist", "promoter", by[1], "in the group ml-promoters"),
        (by[0], "promoter", "admin", by[1], "in the group ml-admins"),
        (by[0], "admin", "viewer", by[1], "by OIDC_DEFAULT_ROLE"),
    ]


def test_nobody_signs_on_as_the_stack_itself_and_the_refusal_says_so(world: World) -> None:
    for name in ("admin", "Trainer", "inference", "healthcheck"):
        answers = list(routes(world, signed_on(world, name, "ml-admins")))
        assert {answer.status_code for answer in answers} == {403}
        assert answers[0].json()["message"].endswith("is an account of the stack itself, and nobody signs on as it")


@pytest.mark.parametrize("smuggled", [NAME.replace("-", "_"), NAME.replace("-", "_").lower(), "X_Sign-On_Name"])
def test_a_name_that_is_smuggled_in_beside_the_proxys_makes_nobody_of_whoever_does_it(
    world: World, smuggled: str
) -> None:
    for name in ("admin", "viewer"):
        answers = list(routes(world, signed_on(world, ANNA, **{smuggled: name})))
        assert {answer.status_code for answer in answers} == {403}
        assert "is no name of an account" in answers[0].json()["message"]


def test_an_account_that_signs_on_has_a_password_when_an_admin_gives_it_one(world: World) -> None:
    name = "dora@example.com"
    assert current(signed_on(world, name)) == (200, name)
    for password in ("", name, RIGHT):
        assert current(Client(world.url, name, password))[0] == 401
    new = "a password that is long enough"
    assert world.admin.raw("PATCH", "api/2.0/mlflow/users/update-password", json={"username": name, "password": new}).ok
    assert current(Client(world.url, name, new)) == (200, name)


def test_who_is_taken_away_has_no_session_left_and_comes_as_somebody_new(world: World) -> None:
    name = "carl@example.com"
    assert current(signed_on(world, name, "ml-promoters")) == (200, name)
    commands(world.place, f"remove {name}")
    assert current(signed_on(world, name)) == (200, name)
    (listed, _) = commands(world.place, "list")[0]
    assert f"{name:<24}  viewer\n" in listed


def test_a_role_that_nobody_can_have_stops_the_start_in_a_line(world: World) -> None:
    ((_, error),) = commands(world.place, "prepare", OIDC_ROLES="ml-team=root")
    assert error.startswith("OIDC_ROLES has 'ml-team=root'; expected GROUP=ROLE")


def test_what_the_proxy_shows_leaves_the_server_by_no_gateway() -> None:
    code = (
        "from accounts import authorization\n"
        "import asyncio, json\n"
        "from mlflow.gateway.providers import utils\n"
        "class Seen(Exception): pass\n"
        "class Session:\n"
        "    def __init__(self, headers, **_): raise Seen(json.dumps(headers))\n"
        "import aiohttp\n"
        "aiohttp.ClientSession = Session\n"
        "async def ask():\n"
        "    headers = {'x-sign-on-secret': 's', 'X-Sign-On-Name': 'n', 'x-sign-on-groups': 'g', 'Cookie': 'c', 'x-kept': 'k'}\n"
        "    async with utils._aiohttp_post(headers, 'https://1.1.1.1', 'v1', {}, ssrf_protect=False): pass\n"
        "try: asyncio.run(ask())\n"
        "except Seen as seen: print(seen)\n"
    )
    environ = os.environ | {"PYTHONPATH": str(SERVICES)}
    result = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert {name.lower() for name in json.loads(result.stdout)} == {"accept-encoding", "x-kept"}
