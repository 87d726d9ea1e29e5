"""`promote`, `rollback` and `history` on a registry with three versions, as a person uses them."""

import json
import shutil

import pytest

from tests.integration.places import MODEL, Place, in_one_line


@pytest.fixture
def place(second, tmp_path) -> Place:
    """Two equal versions, the first one in Production; artifacts of its own, for a test to damage."""
    return second.place.copy(tmp_path / "place")


def ran(result) -> str:
    assert result.returncode == 0, result.stderr
    return in_one_line(result.stdout)


def failed(result) -> str:
    assert result.returncode == 5  # a version that is not there, or not fit
    (line,) = result.stderr.splitlines()
    assert line.startswith("trainer: ")
    return line


def history(place: Place) -> list[tuple[str, str | None, str | None]]:
    result = place.trainer("history", "--json")
    assert result.returncode == 0, result.stderr
    return [(made["by"], made["before"], made["version"]) for made in json.loads(result.stdout)]


def test_a_training_that_promotes_is_the_first_entry_and_one_that_does_not_is_none(place):
    assert history(place) == [("train", None, "1")]


def test_a_version_is_promoted_and_rolled_back_and_the_history_tells_why(place):
    said = ran(place.trainer("promote", "2", "--reason", "the labels were mended"))
    assert f"Version 2 of {MODEL} is in Production; before it was 1." in said
    registry = place.registry()
    assert registry["alias"] == "2"
    assert registry["stages"] == {"1": "Archived", "2": "Production"}
    assert registry["descriptions"]["2"] == "Promoted by hand: the labels were mended."

    assert "Version 1 of" in ran(place.trainer("rollback", "--reason", "customers complain"))
    registry = place.registry()
    assert registry["alias"] == "1"
    assert registry["stages"] == {"1": "Production", "2": "Archived"}
    assert registry["descriptions"]["1"] == "Rolled back to: customers complain."

    assert history(place) == [("train", None, "1"), ("promote", "1", "2"), ("rollback", "2", "1")]
    shown = ran(place.trainer("history"))
    for words in (f"Production of {MODEL}", "customers complain", "the labels were mended"):
        assert words in shown
    assert "has no earlier version in Production to go back to" in failed(place.trainer("rollback"))


def test_a_move_by_others_is_shown_as_theirs(place):
    place.move_alias("2")
    assert history(place) == [("train", None, "1"), ("others", "1", "2")]
    assert "others" in ran(place.trainer("history"))
    ran(place.trainer("rollback"))
    assert history(place)[-1] == ("rollback", "2", "1")


def test_a_version_that_is_not_there_or_in_production_already_is_refused(place):
    assert f"there is no version '9' of {MODEL}" in failed(place.trainer("promote", "9"))
    assert f"version 1 of {MODEL} is in Production already" in failed(place.trainer("promote", "1"))
    assert place.registry()["alias"] == "1"


def test_a_version_that_was_changed_after_it_was_signed_is_refused_and_passed_over(place, tmp_path):
    ran(place.trainer("promote", "2"))
    run_id = place.client.get_model_version(MODEL, "1").source.removeprefix("models:/")
    location = place.client.get_logged_model(run_id).artifact_location.removeprefix("file://")
    kept = tmp_path / "kept"
    shutil.copytree(location, kept)
    try:
        with open(f"{location}/MLmodel", "a") as file:
            file.write("# changed\n")
        assert "its signature does not hold" in failed(place.trainer("promote", "1"))
        result = place.trainer("rollback")
        assert "Version 1 is passed over: its signature does not hold" in in_one_line(result.stdout)
        assert "no earlier version" in failed(result)
    finally:
        shutil.copytree(kept, location, dirs_exist_ok=True)
    assert place.registry()["alias"] == "2"


def test_an_unsigned_version_is_not_promoted_but_told_how_to_be(place):
    code = f"""
import json, mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
X, y = load_iris(return_X_y=True, as_frame=True)
mlflow.set_experiment("notebook")
info = mlflow.sklearn.log_model(LogisticRegression(max_iter=1000).fit(X, y), name="mine", input_example=X.head(3),
                                serialization_format="skops", registered_model_name={MODEL!r})
print(json.dumps(info.registered_model_version))
"""
    version = str(place.notebook(code))
    assert "it is not signed; `adopt` checks and signs" in failed(place.trainer("promote", version))
    ran(place.trainer("adopt", version))
    ran(place.trainer("promote", version))
    assert place.registry()["alias"] == version
