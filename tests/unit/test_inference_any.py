"""The image inference-any: a stage of the standard one's Dockerfile, and an overlay that only adds to what a container has."""

import re
import subprocess
from pathlib import Path

from tests.unit.compose_files import services_of

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "services" / "inference" / "Dockerfile").read_text()


def test_the_overlay_changes_the_image_and_lets_code_run_and_nothing_else() -> None:
    services = services_of("compose.any.yaml")
    assert services == {
        "inference": {
            "image": "${COMPOSE_PROJECT_NAME}/inference-any",
            "build": {"target": "any", "additional_contexts": {"model": "./build/inference-any"}},
            "environment": {"ALLOW_CODE": "true"},
        }
    }


def test_what_is_built_where_no_stage_is_named_needs_no_packages_of_a_model() -> None:
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.M | re.S)
    assert [name for _, name, _ in stages] == ["dependencies", "code", "base", "any-dependencies", "any", ""]
    # Each has the packages of one resolution: over others, files of theirs would be left.
    venvs = [re.findall(r"--from=(\S+) /opt/venv", text) for _, _, text in stages]
    assert venvs == [[], [], [], [], ["any-dependencies"], ["dependencies"]]
    assert [base for base, _, _ in stages[-2:]] == ["base", "base"]
    assert [name for _, name, text in stages if "--from=model" in text] == ["any-dependencies"]


def test_the_services_own_packages_give_way_to_those_of_the_model() -> None:
    (script,) = re.findall(r"sed '([^']*)' requirements\.in", DOCKERFILE)
    asked = (ROOT / "services" / "inference" / "requirements.in").read_text()
    found = subprocess.run(["sed", script], input=asked, capture_output=True, text=True, check=True).stdout.split("\n")
    assert "mlflow-skinny" in found
    assert not [line for line in found if re.search(r"[=<>#~ ]", line)]


def test_the_script_without_a_version_says_what_it_is_for() -> None:
    run = subprocess.run([str(ROOT / "scripts" / "inference-any")], capture_output=True, text=True)
    assert run.returncode == 2
    assert "scripts/inference-any VERSION [--model-name NAME]" in run.stderr
