"""docs/security.md says who reaches what, as compose.yaml has it."""

import re
from pathlib import Path
from typing import Any

from tests.unit.compose_files import content_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
COMPOSE = content_of("compose.yaml")
HEAD = "| service | networks | on the host | reads and writes | only reads |"


def _mounts(service: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return what a service mounts, as the page calls it, and whether it may only read it."""
    found = []
    for volume in service.get("volumes", []):
        if isinstance(volume, str):
            source, _, options = re.fullmatch(r"(\$\{[^}]*\}|[^:]+):([^:]+):?(.*)", volume).groups()
            read_only = "ro" in options.split(",")
        else:
            source, read_only = volume["source"], volume.get("read_only", False)
        if given := re.match(r"\$\{(\w+)", source):
            source = "secrets of yours" if given[1].endswith("_FILE") else given[1]
        found.append((re.sub(r"^\./(.+)", r"\1/", source), read_only))
    return found


def _cell(names: list[str]) -> str:
    every = {name for name in COMPOSE["volumes"] if name.endswith("-secrets")}
    told = [name if " " in name else f"`{name}`" for name in names if not (every <= set(names) and name in every)]
    told += ["every `…-secrets`"] if every <= set(names) else []
    return ", ".join(dict.fromkeys(told)) or "-"


def _row(name: str, service: dict[str, Any]) -> str:
    mounts = _mounts(service)
    networks = ", ".join(service.get("networks", [])) or "none"
    ports = ", ".join(port.split(":")[-1] for port in service.get("ports", [])) or "-"
    writes, reads = ([source for source, read_only in mounts if read_only is only] for only in (False, True))
    return f"| {name} | {networks} | {ports} | {_cell(writes)} | {_cell(reads)} |"


def test_the_page_says_which_networks_ports_and_volumes_each_service_has() -> None:
    containers = {name: service for name, service in COMPOSE["services"].items() if service.get("scale") != 0}
    rows = [_row(name, service) for name, service in containers.items()]
    (table,) = re.findall(rf"^{re.escape(HEAD)}\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.M)
    assert table.splitlines() == rows


def test_the_page_says_which_networks_have_no_way_out_and_all_have_none() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    unmasqueraded = {
        name
        for name, network in COMPOSE["networks"].items()
        if network.get("driver_opts") == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    }
    rows = dict(re.findall(r"^\| ([a-z, ]+) \| none(.*?) \|", PAGE, re.M))
    told = {name: why for names, why in rows.items() for name in names.split(", ")}
    assert {name for name, why in told.items() if why == " (`internal`)"} == internal
    assert {name for name, why in told.items() if why.startswith(": no masquerading")} == unmasqueraded
    assert internal | unmasqueraded == set(COMPOSE["networks"])


def test_nobody_but_trainer_and_reviewer_reads_the_key_that_signs_while_the_stack_works() -> None:
    readers = {
        name
        for name, service in COMPOSE["services"].items()
        if any(source == "trainer-secrets" for source, _ in _mounts(service))
    }
    once = {"secrets", "backup", "backup-schedule", "restore", "doctor"}
    assert readers - once == {"trainer", "bootstrap", "reviewer", "schedule"}


def test_every_test_that_the_page_names_is_there() -> None:
    for path in re.findall(r"`(tests/\S+\.py)`", PAGE):
        assert (ROOT / path).is_file(), path
