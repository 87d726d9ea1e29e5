"""A release's images take the place of builds, each by its digest; what a release lacks is named."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PREFIX = "registry.example.com:5000/team/mlflow-stack"
DIGEST = "sha256:" + 64 * "a"
RELEASED = ("mlflow", "setup", "trainer", "inference", "minio", "backup")
CONFIG = """
{"services": {
  "secrets": {"image": "release-compose/setup", "build": {}, "pull_policy": "build"},
  "bucket": {"image": "release-compose/setup", "pull_policy": "never"},
  "postgres": {"image": "postgres:17-trixie"},
  "sso": {"image": "release-compose/sso", "build": {}}
}}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Docker reads a small compose file, and the list of a release's images."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/release-compose", tmp_path / "scripts")
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncat <<'END'\n{CONFIG}\nEND\n")
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "release.images").write_text("".join(f"{PREFIX}/{name}@{DIGEST}\n" for name in RELEASED))
    return tmp_path


def release_compose(checkout: Path) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"PATH": f"{checkout}:{os.environ['PATH']}"}
    command = [str(checkout / "scripts/release-compose"), "release.images", "compose.sso.yaml"]
    return subprocess.run(command, cwd=checkout, env=environ, capture_output=True, text=True)


def test_each_of_our_images_is_pulled_by_its_digest_and_built_nowhere(checkout: Path) -> None:
    said = release_compose(checkout)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "COMPOSE_FILE=compose.yaml:compose.sso.yaml:compose.release.yaml\n"
    text = (checkout / "compose.release.yaml").read_text()
    services = yaml.safe_load(text.replace("!reset null", "RESET"))["services"]
    ours = {"image": f"${{MLFLOW_STACK_REGISTRY:-{PREFIX}}}/setup@{DIGEST}", "build": "RESET", "pull_policy": "missing"}
    assert services == {"secrets": ours, "bucket": ours}


def test_an_image_that_the_release_does_not_have_is_built_as_before_and_named(checkout: Path) -> None:
    assert "the release has no image sso, which is built as before" in release_compose(checkout).stderr


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{PREFIX}/mlflow:0.1.0", "is no image by its digest"),
        (f"elsewhere.example.com/mlflow@{DIGEST}", "must have images under one prefix"),
    ],
)
def test_what_is_no_list_of_one_releases_images_is_refused_and_nothing_is_written(
    checkout: Path, line: str, reason: str
) -> None:
    with (checkout / "release.images").open("a") as file:
        file.write(f"{line}\n")
    said = release_compose(checkout)
    assert said.returncode == 1
    assert reason in said.stderr
    assert not (checkout / "compose.release.yaml").exists()
