"""Renovate's configuration finds what it should raise and leaves alone what it should not; the tools are pinned."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RENOVATE = json.loads((ROOT / "renovate.json").read_text())


def _renovated(path: Path) -> set[tuple[str, str]]:
    """Return the images that Renovate finds in a file, by the patterns of its configuration."""
    (manager,) = RENOVATE["customManagers"]
    if not any(
        re.search(pattern.strip("/"), str(path.relative_to(ROOT))) for pattern in manager["managerFilePatterns"]
    ):
        return set()
    patterns = [re.sub(r"\(\?<(?=\w)", "(?P<", pattern) for pattern in manager["matchStrings"]]
    found = [match for pattern in patterns for match in re.finditer(pattern, path.read_text())]
    return {(match["depName"], match["currentValue"]) for match in found}


def test_renovate_finds_every_base_image_of_the_compose_files_and_wherever_it_is_repeated() -> None:
    files = [ROOT / "compose.yaml", *ROOT.glob("compose.*.yaml")]
    used = {
        tuple(image.split(":")) for path in files for image in re.findall(r"_IMAGE:-([^}]+:[^}]+)\}", path.read_text())
    }
    watching = {"prom/prometheus", "prom/alertmanager", "prometheuscommunity/postgres-exporter", "grafana/grafana"}
    assert {name for name, _ in used} == {"python", "debian", "golang", "postgres", "haproxy", "caddy", *watching}
    assert {image for path in files for image in _renovated(path)} == used
    for page in (".env.example", "docs/configuration.md"):
        assert _renovated(ROOT / page) == used, page


def test_renovate_leaves_the_frozen_modules_of_minio_and_the_major_of_postgres_alone() -> None:
    disabled = [rule for rule in RENOVATE["packageRules"] if rule.get("enabled") is False]
    assert [rule.get("matchFileNames") for rule in disabled] == [["services/minio/go.mod"], None]
    assert (disabled[1]["matchPackageNames"], disabled[1]["matchUpdateTypes"]) == (["postgres"], ["major"])
    assert all((ROOT / name).is_file() for name in disabled[0]["matchFileNames"])


def test_the_tools_are_locked_for_an_environment_of_their_own() -> None:
    asked = re.findall(r"^([a-z-]+)$", (ROOT / "scripts/tools/requirements.in").read_text(), re.M)
    lock = (ROOT / "scripts/tools/requirements.txt").read_text()
    assert all(re.search(rf"^{name}==\S+", lock, re.M) for name in asked)
