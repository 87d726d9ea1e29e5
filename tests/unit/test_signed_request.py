"""A request that the holder of the signing key has made just now, for this address: no other one gets answers and labels."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from contract.errors import Refused
from contract.tracking import signed_request
from setup.signing_key import new_private_key, public_key_of

TARGET = "/compared?since=2026-11-27T03%3A00%3A00%2B00%3A00"
NOW = 1_790_000_000
Keys = tuple[Path, Path]


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], Keys]:
    def made(name: str) -> Keys:
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        private.write_text(new_private_key())
        public.write_text(public_key_of(private.read_text()))
        return private, public

    return made


def test_one_by_the_key_for_this_target_counts_for_a_minute(
    keys: Callable[[str], Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys("own")
    monkeypatch.setattr(time, "time", lambda: NOW)
    header = signed_request.authorization(TARGET, private)
    signed_request.check(TARGET, header, public)
    for later in (-61, 61):
        monkeypatch.setattr(time, "time", lambda: NOW + later)  # noqa: B023
        with pytest.raises(Refused, match="of another time"):
            signed_request.check(TARGET, header, public)


@pytest.mark.parametrize("header", [None, "", "Bearer x", "Signed", "Signed now x", "Signed ² x", "Signed 1"])
def test_what_is_no_such_header_is_refused(keys: Callable[[str], Keys], header: str | None) -> None:
    with pytest.raises(Refused, match=r"not signed|of another time"):
        signed_request.check(TARGET, header, keys("own")[1])


def test_one_for_another_target_time_or_by_another_key_is_refused(
    keys: Callable[[str], Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys("own")
    monkeypatch.setattr(time, "time", lambda: NOW)
    header = signed_request.authorization(TARGET, private)
    scheme, when, signed = header.split(" ")
    others = [
        (TARGET.replace("27", "26"), header, public),
        (TARGET, f"{scheme} {int(when) + 1} {signed}", public),
        (TARGET, f"{scheme} {when} {signed[:-4]}AAA=", public),
        (TARGET, f"{scheme} {when} no base64", public),
        (TARGET, header, keys("other")[1]),
    ]
    for target, said, key in others:
        with pytest.raises(Refused, match="its signature does not hold"):
            signed_request.check(target, said, key)
