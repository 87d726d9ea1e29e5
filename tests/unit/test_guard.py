"""A stack is opened to other machines with a login, or because somebody says so, and never by accident."""

from pathlib import Path
from typing import Any

import pytest
from contract.publishing import guard
from inference import __main__ as inference_program
from setup import __main__ as setup_program

from tests.unit.compose_files import NAMES, services_of

ROOT = Path(__file__).parents[2]
BEYOND = ["0.0.0.0", "192.168.1.20", "::", "[::]", "fe80::1%eth0", "128.0.0.1", "lan"]  # noqa: S104
# Address of this machine alone → the nearest to it that is not.
HERE = {
    "127.0.0.1": "126.255.255.255",
    "127.1.2.3": "128.1.2.3",
    "::1": "::2",
    "[::1]": "[::]",
    "localhost": "localhost.example",
    "LOCALHOST": "LOCAL",
    " 127.0.0.1 ": " 0.0.0.0 ",
    "": "0.0.0.0",  # noqa: S104
}
SAID = (
    "BIND_ADDRESS is 0.0.0.0, where other machines reach this stack, and nothing asks them for a login; "
    "either add compose.login.yaml to COMPOSE_FILE, or set ALLOW_OPEN=true"
)
# What answers only as long as a service behind it does, which looks itself.
GUARDED_OTHERWISE = {"proxy", "edge"}


class NotSet(Exception):
    """What the guard is asked to raise."""


@pytest.mark.parametrize("address", BEYOND)
def test_an_address_that_other_machines_reach_is_refused_with_the_two_ways_on(address: str) -> None:
    with pytest.raises(NotSet) as refused:
        guard.check({"BIND_ADDRESS": address}, NotSet)
    assert str(refused.value) == SAID.replace("0.0.0.0", address)  # noqa: S104


@pytest.mark.parametrize(("address", "nearest"), HERE.items())
def test_an_address_of_this_machine_alone_needs_no_login(address: str, nearest: str) -> None:
    guard.check({"BIND_ADDRESS": address}, NotSet)
    with pytest.raises(NotSet):
        guard.check({"BIND_ADDRESS": nearest}, NotSet)


def test_no_login_is_needed_unless_an_address_is_given() -> None:
    guard.check({}, NotSet)
    with pytest.raises(NotSet):
        guard.check({"BIND_ADDRESS": "0.0.0.0"}, NotSet)  # noqa: S104


@pytest.mark.parametrize("way", [{"LOGIN": "on"}, {"ALLOW_OPEN": "true"}, {"LOGIN": "on", "ALLOW_OPEN": "false"}])
def test_each_of_the_two_ways_lets_other_machines_in(way: dict[str, str]) -> None:
    address = {"BIND_ADDRESS": "0.0.0.0"}  # noqa: S104
    guard.check(address | way, NotSet)
    with pytest.raises(NotSet):
        guard.check(address | dict.fromkeys(way, "false"), NotSet)


@pytest.mark.parametrize("way", [{"LOGIN": "off"}, {"LOGIN": ""}, {"ALLOW_OPEN": "false"}])
def test_what_is_no_login_lets_nobody_in(way: dict[str, str]) -> None:
    with pytest.raises(NotSet):
        guard.check({"BIND_ADDRESS": "0.0.0.0"} | way, NotSet)  # noqa: S104


@pytest.mark.parametrize(("value", "said"), [("yes", "ALLOW_OPEN is 'yes'"), ("", "ALLOW_OPEN is empty")])
def test_a_word_that_is_no_permission_is_named(value: str, said: str) -> None:
    with pytest.raises(NotSet, match=said):
        guard.check({"ALLOW_OPEN": value}, NotSet)


def test_the_set_up_ends_before_it_does_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BIND_ADDRESS", "0.0.0.0")  # noqa: S104
    assert setup_program.main(["secrets"]) == 1  # without volumes, it would end in a traceback
    assert capsys.readouterr().err == f"secrets: {SAID}\n"


def test_the_prediction_service_which_waits_for_no_set_up_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND_ADDRESS", "0.0.0.0")  # noqa: S104
    with pytest.raises(SystemExit, match=f"^inference: {SAID}$"):
        inference_program.main()


def _files() -> dict[str, Any]:
    return {name: services_of(name) for name in NAMES}


def _published(services: dict[str, Any]) -> set[str]:
    return {name for name, service in services.items() if "BIND_ADDRESS" in str(service.get("ports", ""))}


def test_whatever_is_published_where_a_person_says_looks_at_it_as_it_starts() -> None:
    files = _files()
    base = files["compose.yaml"]
    for services in files.values():
        for name in _published(services) - GUARDED_OTHERWISE:
            assert {"BIND_ADDRESS", "ALLOW_OPEN"} <= set(base[name]["environment"]), name
    assert {"BIND_ADDRESS", "ALLOW_OPEN"} <= set(base["secrets"]["environment"])


def test_a_file_that_brings_a_login_says_so_to_all_that_ask_for_one() -> None:
    files = _files()
    for path, services in files.items():
        told = {name for name, service in services.items() if "LOGIN" in (service.get("environment") or {})}
        assert not told or told >= {"secrets"} | _published(files["compose.yaml"]), path
