"""Several trainers at once: MLflow has no compare-and-swap, and yet the version in Production has won its comparison."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.integration.places import DATA, Place, running_server

# From hopeless to good, so that whoever moves the alias last is not by chance the best.
STRENGTHS = (0.001, 0.003, 0.01, 0.1, 10.0)
NAME = "challenged_at_once"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Five trainings that start together on one real MLflow server; their records, and the place."""
    with running_server(tmp_path_factory.mktemp("at_once")) as (place, _):
        first = place.command("train", "--model-name", "warmed_up")
        assert first.returncode == 0, first.stderr

        def train(strength: float) -> "CompletedProcess[str]":
            options = ("--json", "--model-name", NAME, "--param", f"C={strength}", "--rule", "better")
            return place.command("train", *options, MIN_TEST_ACCURACY="0.2")

        with ThreadPoolExecutor(len(STRENGTHS)) as pool:
            results = list(pool.map(train, STRENGTHS))
        codes = [result.returncode for result in results]
        assert codes == [0] * len(STRENGTHS), [result.stderr for result in results]
        yield place, [json.loads(result.stdout.splitlines()[-1]) for result in results]


def in_production(place: Place) -> str:
    return str(place.client.get_model_version_by_alias(NAME, "Production").version)


def test_each_training_leaves_a_version_and_a_whole_record(records: Any) -> None:
    place, found = records
    assert sorted(record["version"] for record in found) == ["1", "2", "3", "4", "5"]
    for record in found:
        assert record["rounds"]
        assert record["reason"] == record["rounds"][-1]["decision"]["reason"]
        assert place.client.get_model_version(NAME, record["version"]).description


def test_the_version_in_production_has_won_its_comparison(records: Any) -> None:
    place, found = records
    winner = next(record for record in found if record["version"] == in_production(place))
    assert winner["promoted"]
    best = max(record["metrics"]["test_accuracy"] for record in found)
    assert winner["metrics"]["test_accuracy"] == best


def test_the_stages_and_the_history_say_the_same_as_the_alias(records: Any) -> None:
    place, _ = records
    stages = {
        str(version.version): version.tags["stage"]
        for version in place.client.search_model_versions(f"name = '{NAME}'")
    }
    assert [number for number, stage in stages.items() if stage == "Production"] == [in_production(place)]
    moves = json.loads(place.command("history", "--json", "--model-name", NAME).stdout)
    assert moves[-1]["version"] == in_production(place)
    assert {made["by"] for made in moves} == {"train"}


def test_the_data_of_the_comparisons_is_the_committed_one(records: Any) -> None:
    _, found = records
    assert {record["data"]["file"] for record in found} == {DATA.joinpath("iris_dataset.csv").name}
