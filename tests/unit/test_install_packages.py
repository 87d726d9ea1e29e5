"""How uv, which installs the packages, learns what pip's settings say of where they come from."""

import install_packages
import pytest
from install_packages import lock_of, settings, variables

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


def test_uv_itself_is_in_the_lock_with_its_hashes() -> None:
    lines = lock_of("uv", install_packages.REQUIREMENTS.read_text()).splitlines()
    assert lines[0].startswith("uv==")
    assert len(lines) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])
    assert not lines[-1].endswith("\\")
