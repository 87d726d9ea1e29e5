"""How uv, which installs the packages, learns what pip's settings say of where they come from."""

from pathlib import Path

import pytest
from packages.install import UV, settings, variables

ROOT = Path(__file__).resolve().parents[2]

A, B, C = "https://a.example/simple", "https://b.example/simple", "https://c.example/simple"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", {}),
        (f"global.index-url={A!r}\n", {"UV_DEFAULT_INDEX": A}),
        (
            f":env:.index-url={C!r}\nglobal.index-url={A!r}\ninstall.index-url={B!r}\n",
            {"UV_DEFAULT_INDEX": C},
        ),
        (
            f"global.index-url={A!r}\ninstall.index-url={B!r}\n",
            {"UV_DEFAULT_INDEX": B},
        ),
        (
            f"global.extra-index-url='\\n{A}\\n{B}'\nglobal.find-links='/one\\n/two'\n",
            {"UV_INDEX": f"{A} {B}", "UV_FIND_LINKS": "/one,/two"},
        ),
        (
            "global.cert='/etc/ca.pem'\nglobal.no-index='true'\nglobal.timeout='60'\nlist.format='columns'\n",
            {"SSL_CERT_FILE": "/etc/ca.pem", "UV_NO_INDEX": "true"},
        ),
        ("global.extra-index-url=''\n", {}),
    ],
)
def test_uv_is_told_what_pip_is_set_to(said: str, expected: dict[str, str]) -> None:
    assert variables(settings(said)) == expected


def test_uv_itself_is_of_the_one_resolution_with_its_hashes() -> None:
    lines = UV.read_text()
    assert lines.startswith("uv==")
    assert "--hash=sha256:" in lines
    assert lines.count("==") == 1
    assert f"\n{lines}" in (ROOT / "requirements.txt").read_text()
