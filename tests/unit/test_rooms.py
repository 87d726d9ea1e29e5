"""The rooms of the house: docs/architecture.md names each module once, under the folder that it lies in."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
# What no row names: the services' tops, which the text around the tables tells of. (Nor does it a package's own file.)
UNNAMED = {"__main__", "server"}
HEADINGS = {"contract": "What both sides read", "trainer": "The trainer", "inference": "The prediction service"}


def _told(service: str) -> list[str]:
    """Return what the page's table of a service names: room/module."""
    (section,) = re.findall(rf"^## {HEADINGS[service]}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    rows = re.findall(r"^\| `([a-z_/]+)/` \| (.+?) \|", section, re.M)
    return [
        f"{room}/{name}".removeprefix(f"{service}/") for room, names in rows for name in re.findall(r"`(\w+)`", names)
    ]


def _there(service: str) -> list[str]:
    folder = ROOT / "services" / service
    paths = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.py"))
    return [path for path in paths if path not in UNNAMED and not path.endswith("__init__")]


@pytest.mark.parametrize("service", HEADINGS)
def test_each_module_is_named_once_under_its_room(service):
    assert Counter(_told(service)) == Counter(_there(service))


@pytest.mark.parametrize("service", HEADINGS)
def test_no_room_is_so_full_that_nothing_is_found_in_it(service):
    rooms = Counter(path.rpartition("/")[0] for path in _there(service))
    assert max(rooms.values()) <= 12
