"""Several trainers at once: MLflow has no compare-and-swap, and yet the version in Production has won its comparison."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.integration.places import DATA, Place, running_server

pytestmark = pytest.mark.unhurried

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


# Trains, and is held up between its look at the alias and its move of it, until somebody opens a pipe and closes it.
HELD_UP = """
import sys
from trainer.__main__ import main
from trainer.tracking import registry

sys.argv, (looked, goes_on), move = sys.argv[:-2], sys.argv[-2:], registry.move_to_production

def held_up(name, version):
    registry.move_to_production = move
    open(looked, "w").close()
    open(goes_on).read()
    move(name, version)

registry.move_to_production = held_up
main()
"""


def in_production(place: Place, name: str = NAME) -> str:
    return str(place.client.get_model_version_by_alias(name, "Production").version)


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


@pytest.mark.parametrize(("held_up", "other"), [(0.01, 10.0), (10.0, 0.01)])
def test_one_that_is_held_up_before_it_moves_the_alias_makes_way_for_a_better_one_that_came_and_went_meanwhile(
    records: Any, tmp_path: Path, held_up: float, other: float
) -> None:
    place, _ = records
    name, pipes = f"held_up_{held_up}", [str(tmp_path / pipe) for pipe in ("looked", "goes_on")]
    for pipe in pipes:
        os.mkfifo(pipe)

    def arguments(strength: float) -> tuple[str, ...]:
        return ("train", "--json", "--model-name", name, "--param", f"C={strength}", "--rule", "better")

    def told(result: "CompletedProcess[str]") -> Any:
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    setting = {"MIN_TEST_ACCURACY": "0.2"}
    told(place.command(*arguments(0.001), **setting))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(place.forked, "-c", HELD_UP, *arguments(held_up), *pipes, **setting)
        Path(pipes[0]).read_text()
        between = told(place.command(*arguments(other), **setting))
        assert in_production(place, name) == between["version"]
        Path(pipes[1]).write_text("")
        made = told(late.result())
    accuracies = [record["metrics"]["test_accuracy"] for record in (made, between)]
    assert (accuracies[0] < accuracies[1]) == (held_up < other)
    assert between["promoted"]
    assert made["promoted"] == (held_up > other)
    assert in_production(place, name) == (made if held_up > other else between)["version"]
    assert made["reason"] == made["rounds"][-1]["decision"]["reason"]
    assert ("makes way" in place.command("history", "--json", "--model-name", name).stdout) == (held_up < other)
