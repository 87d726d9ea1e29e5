"""The script for the way without Docker: the parts that need no process."""

import socket
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "scripts" / "embedded.py"


@pytest.fixture(scope="module")
def embedded():
    spec = spec_from_file_location("embedded", FILE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_free_is_taken_as_wanted(embedded, taken, capsys):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert embedded.free_port(port) == port
    assert capsys.readouterr().out == ""


def test_a_port_that_is_taken_gives_way_to_another_which_is_said(embedded, taken, capsys):
    other = embedded.free_port(taken)
    assert other != taken
    assert not embedded.is_taken(other)
    assert capsys.readouterr().out == f"Port {taken} is taken by another program, so the demo serves on {other}.\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "now"]])
def test_a_command_that_is_unknown_is_answered_with_those_that_are_known(embedded, arguments, capsys):
    assert embedded.main(arguments) == 2
    said = capsys.readouterr().err
    for command in ("demo", "explore", "train", "serve", "ui"):
        assert f"embedded.py {command}" in said
