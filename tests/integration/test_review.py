"""A version with the alias `candidate` is checked, signed and judged, and what came of it is told where people look."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import skops.io
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression
from trainer import signals
from trainer.commands.review import review
from trainer.console.terminal import Console
from trainer.errors import TrackingError
from trainer.experiment import Plan
from trainer.settings import Settings
from trainer.tracking.candidates import Review

from tests.integration.places import DATA, MODEL, ROOT, Place, eventually, in_one_line, keys, running_server

pytestmark = pytest.mark.unhurried

CANDIDATE = "candidate"
OTHER = "flowers"
UV = (sys.executable, "-m", "uv")
# What a person's notebook does, with plain MLflow; it is fitted on all rows, those that are held out included.
NOTEBOOK = """
import json, sys, mlflow, pandas as pd
from sklearn.linear_model import LogisticRegression
frame = pd.read_csv(sys.argv[1])
X, y = frame.iloc[:, :4], frame["target"]
mlflow.set_experiment(experiment_id=mlflow.create_experiment("by hand " + sys.argv[3], artifact_location=sys.argv[4]))
with mlflow.start_run():
    logged = mlflow.sklearn.log_model(LogisticRegression(max_iter=1000).fit(X, y), name="mine", input_example=X.head(2),
        serialization_format=sys.argv[2], pip_requirements=["scikit-learn"])
version = mlflow.register_model(logged.model_uri, "iris_logistic_regression").version
mlflow.MlflowClient().set_registered_model_alias("iris_logistic_regression", "candidate", version)
print(json.dumps(str(version)))
"""


def propose(place: Place, version: str, name: str = MODEL) -> None:
    place.client.set_registered_model_alias(name, CANDIDATE, version)


def candidate(place: Place, name: str = MODEL) -> str | None:
    try:
        return str(place.client.get_model_version_by_alias(name, CANDIDATE).version)
    except MlflowException:
        return None


def log_by_hand(place: Place, form: str) -> str:
    """Log a model as a notebook does and make it the candidate; return its version."""
    code = NOTEBOOK.replace("sys.argv[1]", repr(str(DATA / "iris_dataset.csv"))).replace("sys.argv[2]", repr(form))
    code = code.replace("sys.argv[3]", repr(form)).replace("sys.argv[4]", repr((place.folder / "artifacts").as_uri()))
    version: str = place.notebook(code)
    return version


def say(place: Place, **keys_of_file: Any) -> None:
    """Write the experiment file that is about a model."""
    folder = place.work / "experiments"
    folder.mkdir(exist_ok=True)
    (folder / f"{keys_of_file['model_name']}.yaml").write_text(json.dumps(keys_of_file))


def reviewed(place: Place, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return place.command("review", *arguments, **settings)


def outcome(place: Place, version: str, name: str = MODEL) -> tuple[str, str]:
    tags = place.client.get_model_version(name, version).tags
    return tags["review"], tags["review_reason"]


def files_of(place: Place, version: str) -> Path:
    """Return the folder of a version's files, into which a scientist may write."""
    model_id = str(place.client.get_model_version(MODEL, version).source).removeprefix("models:/")
    return Path(place.client.get_logged_model(model_id).artifact_location.removeprefix("file://"))


def change_model(folder: Path) -> None:
    """Put another estimator in the place of a version's."""
    columns = json.loads((folder / "input_example.json").read_text())["columns"]
    iris = pd.read_csv(DATA / "iris_dataset.csv")
    other = LogisticRegression(max_iter=1000, C=0.5).fit(iris[columns], iris["target"])
    skops.io.dump(other, folder / "model.skops")


def audited(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A registry with a weak version 1 in Production, and two alike, 2 and 3, that nobody has promoted."""
    place = Place(tmp_path_factory.mktemp("review"))
    weak = ("train", "--model-name", MODEL, "--param", "C=0.0001", "--threshold", "accuracy=0.2")
    good = ("train", "--model-name", MODEL, "--no-promote")
    for arguments in (weak, good, good):
        result = place.command(*arguments)
        assert result.returncode == 0, result.stderr
    assert place.registry()["alias"] == "1"
    return place


@pytest.fixture
def place(trained: Place, tmp_path: Path) -> Iterator[Place]:
    """A copy of it for one test; what this process asks MLflow is put right again afterwards."""
    before = mlflow.get_tracking_uri()
    yield trained.copy_with_files(tmp_path / "place")
    mlflow.set_tracking_uri(before)


def held(place: Place, plan: Callable[[], Plan]) -> Review | None:
    """Hold a review in this process; `plan` is asked for when the version is signed and nothing is decided."""
    settings = Settings(place.tracking_uri, signing_key=Path(keys()["SIGNING_KEY_FILE"]), data_dir=DATA)
    return review(settings, None, plan, Console(file=io.StringIO()))


def test_a_candidate_that_wins_is_promoted_and_who_asked_by_the_tag_is_in_the_history_and_the_audit_log(
    place: Place,
) -> None:
    say(place, model_name=MODEL, rule="better")
    place.client.set_model_version_tag(MODEL, "2", "asked_by", "alice")
    propose(place, "2")
    log = place.folder / "audit.jsonl"
    result = reviewed(place, AUDIT_FILE=str(log))
    assert result.returncode == 0, result.stderr
    assert place.registry()["alias"] == "2"
    assert place.registry()["stages"]["2"] == "Production"
    assert place.registry()["stages"]["1"] == "Archived"
    assert candidate(place) is None
    assert outcome(place, "2")[0] == "promoted"
    assert place.registry()["descriptions"]["2"].startswith("Review of 20")
    # what its training said of it stays below
    assert "it was trained with --no-promote" in place.registry()["descriptions"]["2"]
    moves = json.loads(place.command("history", "--json").stdout)
    assert (moves[-1]["by"], moves[-1]["before"], moves[-1]["version"]) == ("reviewer", "1", "2")
    assert moves[-1]["reason"].endswith("(asked by 'alice', by the tag)")
    lines = audited(log)
    assert [(one["of"], one["from"], one["to"], one["who"], one["by"]) for one in lines] == [
        (f"{MODEL}@Production", "1", "2", "reviewer", "reviewer"),
        (f"{MODEL}@candidate", "2", None, "reviewer", "reviewer"),
    ]
    assert all(one["why"].endswith("(asked by 'alice', by the tag)") for one in lines)


def test_a_candidate_that_does_not_win_is_told_why_and_production_stays(place: Place) -> None:
    place.move_alias("3")
    propose(place, "2")
    assert reviewed(place).returncode == 0
    assert place.registry()["alias"] == "3"
    assert candidate(place) is None
    word, reason = outcome(place, "2")
    assert word == "not promoted"
    assert "an equal model does not displace the champion" in reason
    assert place.registry()["stages"]["2"] == "Staging"
    shown = place.command("history", COLUMNS="200")
    assert "Reviews of" in shown.stdout
    assert "unknown" in shown.stdout
    assert "an equal model does not displace" in in_one_line(shown.stdout)


def test_a_second_review_takes_the_place_of_the_first_in_the_description_and_is_counted(place: Place) -> None:
    place.move_alias("3")
    for number in (1, 2):
        propose(place, "2")
        assert reviewed(place).returncode == 0
        assert outcome(place, "2")[1].endswith(f" rows of iris_dataset.csv, by review {number} on these data)")
    assert place.registry()["descriptions"]["2"].count("Review of") == 1


def test_a_version_from_a_notebook_is_neither_promoted_by_rows_that_it_may_know_nor_signed_until_it_wins(
    place: Place,
) -> None:
    version = log_by_hand(place, "skops")
    assert reviewed(place).returncode == 0
    word, reason = outcome(place, version)
    assert word == "not promoted"
    assert "which rows it was fitted on is not known" in reason
    assert "test accuracy" in reason  # what was measured is told all the same
    assert place.registry()["alias"] == "1"
    assert "signed_by" not in place.client.get_model_version(MODEL, version).tags
    assert not {"model.sig", "identity.json"} & {path.name for path in files_of(place, version).iterdir()}
    # where the file about the model says that nobody trains on what is held out here
    say(place, model_name=MODEL, accept_leak=True, rule="better")
    propose(place, version)
    assert reviewed(place).returncode == 0
    assert place.registry()["alias"] == version
    assert outcome(place, version)[0] == "promoted"
    assert "signed_by" in place.client.get_model_version(MODEL, version).tags
    assert (files_of(place, version) / "model.sig").exists()


@pytest.mark.parametrize("left", ["model.sig", "signed_by"])
def test_a_version_that_was_signed_is_not_signed_with_other_files_by_whatever_is_left_of_its_signature(
    place: Place, left: str
) -> None:
    version = log_by_hand(place, "skops")
    assert place.command("adopt", version).returncode == 0
    change_model(folder := files_of(place, version))
    if left == "signed_by":
        (folder / "model.sig").unlink()
    else:
        place.client.delete_model_version_tag(MODEL, version, "signed_by")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    made = held(place, lambda: Plan(rule="not-worse", accept_leak=True))
    assert made is not None
    assert made.outcome == "refused"
    assert "other files are signed as this model already" in made.reason
    assert "log the model anew" in made.reason
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert place.registry()["alias"] == "1"
    if left == "model.sig":
        assert "log the model anew" in place.command("adopt", version).stderr


def test_a_version_whose_files_change_during_its_contest_is_neither_signed_nor_promoted(place: Place) -> None:
    version = log_by_hand(place, "skops")

    def changed() -> Plan:
        change_model(files_of(place, version))
        return Plan(rule="not-worse", accept_leak=True)

    made = held(place, changed)
    assert made is not None
    assert made.outcome == "refused"
    assert made.reason == "its file model.skops was changed while it was examined, so it is not signed"
    assert not (files_of(place, version) / "model.sig").exists()
    assert place.registry()["alias"] == "1"


def test_a_version_that_runs_code_is_refused_with_the_way_to_have_it_served(place: Place) -> None:
    version = log_by_hand(place, "cloudpickle")
    result = reviewed(place)
    assert result.returncode == 5
    assert "--allow-code" in result.stderr
    word, reason = outcome(place, version)
    assert word == "refused"
    assert "--allow-code" in reason
    assert candidate(place) is None
    assert place.command("adopt", version, "--allow-code", "--unconfined").returncode == 0
    propose(place, version)
    assert reviewed(place).returncode == 5
    assert f"`promote {version}` puts it into Production by hand" in outcome(place, version)[1]


def test_a_version_whose_review_ends_each_time_before_it_is_over_is_refused_in_the_end(place: Place) -> None:
    place.client.set_model_version_tag(MODEL, "2", "reviews_begun", "5")
    propose(place, "2")
    assert reviewed(place).returncode == 5
    assert "its review was begun 5 times, and never came to its end" in outcome(place, "2")[1]
    assert candidate(place) is None
    assert place.client.get_model_version(MODEL, "2").tags["reviews_begun"] == "0"


def test_a_version_that_makes_the_review_fail_is_refused_and_the_next_one_is_reviewed(place: Place) -> None:
    def fails() -> Plan:
        raise ZeroDivisionError("in the midst of it")

    propose(place, "2")
    made = held(place, fails)
    assert made is not None
    assert (made.outcome, made.reason) == ("refused", "its review failed: ZeroDivisionError: in the midst of it")
    propose(place, "3")
    assert held(place, lambda: Plan(rule="better")).outcome == "promoted"


def test_a_candidate_that_is_moved_meanwhile_is_not_promoted_and_the_other_one_stays_a_candidate(place: Place) -> None:
    def moved() -> Plan:
        propose(place, "3")
        return Plan(rule="better")

    propose(place, "2")
    made = held(place, moved)
    assert made.outcome == "withdrawn"
    assert made.reason == "the alias candidate was given to version 3 before the decision"
    assert place.registry()["alias"] == "1"
    assert candidate(place) == "3"
    assert held(place, lambda: Plan(rule="better")).version == "3"
    assert place.registry()["alias"] == "3"


def test_a_candidate_whose_alias_is_taken_away_meanwhile_is_not_promoted(place: Place) -> None:
    def taken_away() -> Plan:
        place.client.delete_registered_model_alias(MODEL, CANDIDATE)
        return Plan(rule="better")

    propose(place, "2")
    assert held(place, taken_away).outcome == "withdrawn"
    assert place.registry()["alias"] == "1"


@pytest.mark.parametrize("error", [signals.Interrupted(signal.SIGTERM), TrackingError("MLflow is gone")])
def test_a_review_that_is_stopped_in_the_middle_leaves_a_candidate_that_is_reviewed_once_more(
    place: Place, error: BaseException
) -> None:
    def stopped() -> Plan:
        raise error

    propose(place, "2")
    with pytest.raises(type(error)):
        held(place, stopped)
    assert candidate(place) == "2"
    assert place.client.get_model_version(MODEL, "2").tags["reviews_begun"] == "0"
    assert held(place, lambda: Plan(rule="better")).outcome == "promoted"


def test_a_tag_that_names_another_key_has_no_review_skip_the_version_in_production(place: Place) -> None:
    place.move_alias("3")
    place.client.set_model_version_tag(MODEL, "3", "signed_by", "another key")
    propose(place, "2")
    made = held(place, lambda: Plan(rule="better"))
    assert made is not None
    assert "an equal model does not displace the champion" in made.reason
    assert place.registry()["alias"] == "3"


def test_a_version_in_production_that_cannot_be_measured_is_left_to_a_person(place: Place) -> None:
    place.move_alias("3")
    model_id = place.client.get_model_version(MODEL, "3").source.removeprefix("models:/")
    location = place.client.get_logged_model(model_id).artifact_location
    Path(location.removeprefix("file://"), "model.sig").unlink()
    propose(place, "2")
    made = held(place, lambda: Plan(rule="better"))
    assert made is not None
    assert made.outcome == "not promoted"
    lost = "version 3 in Production cannot be measured on the same rows: it has lost its signature; `promote 2` replaces it"
    assert made.reason.startswith(lost)
    assert place.registry()["alias"] == "3"


def test_a_version_that_is_in_production_already_only_loses_the_alias(place: Place) -> None:
    propose(place, "1")
    assert reviewed(place).returncode == 0
    assert outcome(place, "1") == ("nothing to do", "it is in Production already")
    assert candidate(place) is None
    assert [made["version"] for made in json.loads(place.command("history", "--json").stdout)] == ["1"]


def test_without_a_candidate_there_is_nothing_to_review_and_a_version_can_be_named(place: Place) -> None:
    result = reviewed(place)
    assert (result.returncode, result.stdout) == (0, f"No version of {MODEL} has the alias candidate.\n")
    say(place, model_name=MODEL, rule="better")
    assert reviewed(place, "2", AUDIT_WHO="bob").returncode == 0
    assert place.registry()["alias"] == "2"
    assert json.loads(place.command("history", "--json").stdout)[-1]["reason"].endswith("(asked for by bob)")


def test_a_version_of_another_model_is_judged_by_the_file_about_it_and_by_nothing_else(place: Place) -> None:
    assert place.command("train", "--model-name", OTHER, "--no-promote").returncode == 0
    for words in ("nothing says on which data flowers is judged", "promoted"):
        propose(place, "1", OTHER)
        result = reviewed(place, "--model-name", OTHER)
        assert result.returncode == 0, result.stderr
        assert words in ": ".join(outcome(place, "1", OTHER))
        say(place, model_name=OTHER, dataset="iris")
    assert str(place.client.get_model_version_by_alias(OTHER, "Production").version) == "1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"data": "none.csv"}, "none.csv"),
        ({"dataset": "iris", "rule": "luck"}, "'luck' is not one of"),
        ({"dataset": "iris", "drop": ["petal length (cm)"]}, "column"),
    ],
)
def test_data_that_does_not_fit_or_is_not_there_is_the_reason(
    place: Place, content: dict[str, Any], words: str
) -> None:
    say(place, model_name=MODEL, **content)
    propose(place, "2")
    reviewed(place)
    assert words in outcome(place, "2")[1]
    assert candidate(place) is None
    assert place.registry()["alias"] == "1"


def test_a_review_needs_no_experiment(place: Place) -> None:
    for experiment in place.client.search_experiments():
        if experiment.experiment_id != "0":
            place.client.rename_experiment(experiment.experiment_id, f"renamed {experiment.experiment_id}")
    before = {experiment.name for experiment in place.client.search_experiments()}
    propose(place, "2")
    made = held(place, lambda: Plan(rule="better"))
    assert made is not None
    assert made.outcome == "promoted"
    assert {experiment.name for experiment in place.client.search_experiments()} == before


def test_two_files_about_one_model_are_none(place: Place) -> None:
    say(place, model_name=MODEL)
    (place.work / "experiments" / "too.yaml").write_text(f"model_name: {MODEL}\n")
    propose(place, "2")
    reviewed(place)
    assert "are both about" in outcome(place, "2")[1]


# --- the watch, on a server ----------------------------------------------------------------------------------------


def test_the_watch_goes_on_where_mlflow_does_not_answer_and_says_so_once(tmp_path: Path) -> None:
    place = Place(tmp_path / "place", "http://127.0.0.1:9")
    watch = place.start_trainer("reviewer", REVIEW_POLL_SECONDS="0.1")
    eventually("it is told", lambda: "does not answer" in watch.log)
    assert watch.is_running
    assert watch.stop() == 128 + signal.SIGTERM
    assert watch.log.count("does not answer") == 1


def test_the_watch_wants_a_server(tmp_path: Path) -> None:
    result = Place(tmp_path / "place").command("reviewer")
    assert result.returncode == 2
    assert "a server is watched, `review` reviews a candidate in a file" in result.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command as `pip install` from the repository gives it, without the packages, which are here already."""
    target = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source")  # what a build leaves behind is not for the repository
    for name in ("pyproject.toml", "README.md", "services"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    subprocess.run([*UV, "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)], check=True)
    return target


@dataclass(frozen=True)
class Laptop:
    """A machine that reaches the server, and has no key."""

    place: Place
    installed: Path

    def train(self, *options: str) -> "subprocess.CompletedProcess[str]":
        environ = self.place.environ(MLFLOW_TRACKING_USERNAME="carol", PYTHONPATH=str(self.installed))
        del environ["SIGNING_KEY_FILE"]
        command = [sys.executable, str(self.installed / "bin" / "mlflow-stack"), "train", "--model-name", MODEL]
        return subprocess.run(
            [*command, *options], env=environ, cwd=self.place.work, capture_output=True, text=True, timeout=180
        )


def test_a_laptop_without_a_key_trains_for_a_server_whose_reviewer_signs_and_promotes_it(
    tmp_path: Path, installed: Path
) -> None:
    with running_server(tmp_path) as (place, _):
        watch, laptop = place.start_trainer("reviewer", REVIEW_POLL_SECONDS="0.2"), Laptop(place, installed)
        result = laptop.train()
        assert result.returncode == 0, result.stderr
        assert "it has the alias candidate now" in in_one_line(result.stdout)
        assert f"Version: {place.environ()['MLFLOW_TRACKING_URI']}/#/models/{MODEL}/versions/1" in result.stdout
        assert "Usage: mlflow-stack train" in laptop.train("--no-such-option").stderr
        eventually("it is reviewed", partial(is_reviewed, place, "1"))
        assert outcome(place, "1")[0] == "promoted", watch.log
        with place.inference() as service:
            service.serves("1")
        (moved,) = json.loads(place.command("history", "--json").stdout)
        assert (moved["by"], moved["version"]) == ("reviewer", "1")
        assert moved["reason"].endswith("(asked by 'carol', by the tag)")
        # a champion that is not the server's own is asked in the sandbox, and says which rows it was fitted on
        assert "on 30 rows that neither was fitted on" in in_one_line(place.command("train").stdout)
        assert laptop.train("--threshold", "accuracy=1.01").returncode == 0
        assert candidate(place) is None  # what does not pass the gate asks for nothing
        assert watch.stop() == 128 + signal.SIGTERM


def is_reviewed(place: Place, version: str) -> bool:
    return candidate(place) is None and "review" in place.client.get_model_version(MODEL, version).tags
