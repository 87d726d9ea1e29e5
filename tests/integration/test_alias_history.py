"""`promote`, `rollback` and `history` on a registry with three versions, as a person uses them."""

import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from setup.signing_key import key_id_of, new_private_key
from trainer.commands import production
from trainer.console.terminal import Console
from trainer.errors import VersionError
from trainer.settings import Settings
from trainer.tracking import alias_moves, registry

from tests.integration.conftest import Training
from tests.integration.places import MODEL, Place, in_one_line, keys

pytestmark = pytest.mark.unhurried


@pytest.fixture
def place(second: Training, tmp_path: Path) -> Place:
    """Two equal versions, the first one in Production; artifacts of its own, for a test to damage."""
    return second.place.copy(tmp_path / "place")


def ran(result: Any) -> str:
    assert result.returncode == 0, result.stderr
    return in_one_line(result.stdout)


def failed(result: Any) -> str:
    assert result.returncode == 5  # a version that is not there, or not fit
    (line,) = result.stderr.splitlines()
    assert line.startswith("trainer: ")
    return line


def history(place: Place) -> list[tuple[str, str | None, str | None]]:
    result = place.command("history", "--json")
    assert result.returncode == 0, result.stderr
    return [(made["by"], made["before"], made["version"]) for made in json.loads(result.stdout)]


def test_a_training_that_promotes_is_the_first_entry_and_one_that_does_not_is_none(place: Place) -> None:
    assert history(place) == [("train", None, "1")]


def test_a_version_is_promoted_and_rolled_back_and_the_history_tells_why(place: Place) -> None:
    said = ran(place.command("promote", "2", "--reason", "the labels were corrected"))
    assert f"Version 2 of {MODEL} is in Production; before it was 1." in said
    registry = place.registry()
    assert registry["alias"] == "2"
    assert registry["stages"] == {"1": "Archived", "2": "Production"}
    assert registry["descriptions"]["2"].startswith("Promoted by hand: the labels were corrected.\n\nData: ")

    assert "Version 1 of" in ran(place.command("rollback", "--reason", "customers complain", AUDIT_WHO="anna"))
    registry = place.registry()
    assert registry["alias"] == "1"
    assert registry["stages"] == {"1": "Production", "2": "Archived"}
    assert registry["descriptions"]["1"].startswith("Rolled back to: customers complain.\n\nData: ")
    assert "Promoted" not in registry["descriptions"]["1"]

    assert history(place) == [("train", None, "1"), ("promote", "1", "2"), ("rollback", "2", "1")]
    shown = ran(place.command("history"))
    for words in (f"Production of {MODEL}", "customers complain (by anna)", "the labels were corrected"):
        assert words in shown
    assert "has no earlier version in Production to go back to" in failed(place.command("rollback"))


def described(place: Place) -> str:
    return str(place.client.get_registered_model(MODEL).description)


def test_the_description_of_the_model_has_the_newest_moves_first_and_keeps_what_people_wrote(
    place: Place, settings: Settings, console: Console
) -> None:
    place.client.update_registered_model(MODEL, f"Ours.\n\n{described(place)}\n\nAsk us | first.")
    for number in range(6):
        production.promote(settings, "21"[number % 2], f"number {number} | of [six] " + "x" * 400, console)
    text = described(place)
    assert text.startswith("Ours.\n\nTrained on")
    assert text.endswith(" |\n\nAsk us | first.")
    assert text.count("### History of Production") == 1
    shown = re.findall(r"^\| 20.*\| (promote|train) \| (.) \| (.) \| (number .|nothing was)", text, re.MULTILINE)
    assert shown[0] == ("promote", "2", "1", "number 5")
    assert shown[-1] == ("train", "-", "1", "nothing was")
    assert len(shown) == 7
    assert len(text) <= 4000


@pytest.mark.parametrize("theirs", ["Promoted products only.\n\nReview of the data: Anna\x07", "x" * 4500, "y" * 4990])
def test_what_people_wrote_about_a_version_stays_whole_when_the_alias_moves(
    place: Place, settings: Settings, console: Console, theirs: str
) -> None:
    for version in "12":
        place.client.update_model_version(MODEL, version, theirs)
    for version in "212":
        production.promote(settings, version, "for a reason" * 100, console)
    place.move_alias("1")
    registry.show_stages(MODEL)
    found = place.registry()["descriptions"]
    assert all(text.endswith(theirs) and len(text) <= 5000 for text in found.values())
    if len(theirs) < 4900:
        ours = {number: text.removesuffix(theirs) for number, text in found.items()}
        assert ours["1"] == "Put into Production by hand: the alias was moved.\n\n"
        assert ours["2"].startswith("Promoted by hand: for a reason")
        assert ours["2"].count("\n\n") == 1


def test_the_description_tells_of_a_move_by_others_as_well(place: Place, settings: Settings, console: Console) -> None:
    place.move_alias("2")
    production.promote(settings, "1", "back", console)
    assert "| ? | others | 1 | 2 | not recorded" in described(place)


def test_a_move_by_others_is_shown_as_theirs(place: Place) -> None:
    place.move_alias("2")
    assert history(place) == [("train", None, "1"), ("others", "1", "2")]
    assert "others" in ran(place.command("history"))
    ran(place.command("rollback"))
    assert history(place)[-1] == ("rollback", "2", "1")


def test_a_version_that_is_not_there_or_in_production_already_is_refused(place: Place) -> None:
    assert f"there is no version '9' of {MODEL}" in failed(place.command("promote", "9"))
    assert f"version 1 of {MODEL} is in Production already" in failed(place.command("promote", "1"))
    assert place.registry()["alias"] == "1"


def test_a_version_that_was_changed_after_it_was_signed_is_refused_and_passed_over(
    place: Place, tmp_path: Path
) -> None:
    ran(place.command("promote", "2"))
    run_id = place.client.get_model_version(MODEL, "1").source.removeprefix("models:/")
    location = place.client.get_logged_model(run_id).artifact_location.removeprefix("file://")
    kept = tmp_path / "kept"
    shutil.copytree(location, kept)
    try:
        with open(f"{location}/MLmodel", "a") as file:
            file.write("# changed\n")
        assert "its signature does not hold" in failed(place.command("promote", "1"))
        result = place.command("rollback")
        assert "Version 1 is passed over: its signature does not hold" in in_one_line(result.stdout)
        assert "no earlier version" in failed(result)
    finally:
        shutil.copytree(kept, location, dirs_exist_ok=True)
    assert place.registry()["alias"] == "2"


def test_an_unsigned_version_is_not_promoted_but_told_how_to_be(place: Place) -> None:
    code = f"""
import json, mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
X, y = load_iris(return_X_y=True, as_frame=True)
mlflow.set_experiment("notebook")
info = mlflow.sklearn.log_model(LogisticRegression(max_iter=1000).fit(X, y), name="mine", input_example=X.head(3),
                                serialization_format="skops", pip_requirements=["scikit-learn"],
                                registered_model_name={MODEL!r})
print(json.dumps(info.registered_model_version))
"""
    version = str(place.notebook(code))
    assert "it is not signed; `adopt` checks and signs" in failed(place.command("promote", version))
    ran(place.command("adopt", version))
    ran(place.command("promote", version))
    assert place.registry()["alias"] == version


@pytest.fixture
def settings(place: Place) -> Iterator[Settings]:
    """The settings of that place, for commands that run in this process."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(place.tracking_uri)  # which the registry in a file goes by
    yield Settings(tracking_uri=place.tracking_uri, signing_key=Path(keys()["SIGNING_KEY_FILE"]))
    mlflow.set_tracking_uri(before)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=500)


def signed_version(place: Place, *files: str) -> str:
    """Register a version that says it is signed with the stack's key, and has nothing but these files."""
    model = place.client.create_logged_model(
        place.client.get_experiment_by_name("MLflow Workshop - Iris Classification").experiment_id
    )
    for name in files:
        path = place.work / name
        path.write_text("{}")
        place.client.log_model_artifact(model.model_id, str(path))
    key_id = Path(keys()["SIGNING_KEY_FILE"]).with_suffix(".id").read_text().strip()
    tags = {"signed_by": key_id}
    return str(place.client.create_model_version(MODEL, f"models:/{model.model_id}", tags=tags).version)


def test_a_version_whose_files_or_signature_are_gone_is_called_lost_and_not_unsigned(
    place: Place, settings: Any, console: Console
) -> None:
    with pytest.raises(VersionError, match="its files are gone from the artifact store"):
        production.promote(settings, signed_version(place), "", console)
    with pytest.raises(VersionError, match=r"its signature is gone: it was signed with the key .*model\.sig is not in"):
        production.promote(settings, signed_version(place, "MLmodel"), "", console)
    assert place.registry()["alias"] == "1"


def test_history_tells_that_the_version_in_production_has_lost_its_files(
    place: Place, settings: Any, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    version = signed_version(place)
    place.move_alias(version)
    production.show_history(settings, False, console)
    assert f"version {version}, in Production, has lost its files; `rollback` goes back" in capsys.readouterr().err


def test_recovering_goes_back_to_the_last_version_that_is_whole_and_says_so(
    place: Place, settings: Any, console: Console
) -> None:
    production.promote(settings, "2", "better labels", console)
    for version in (signed_version(place, "MLmodel"), signed_version(place)):
        place.move_alias(version)
    assert production.recover(settings, "its files", console)
    assert place.registry()["alias"] == "2"
    assert place.registry()["stages"]["2"] == "Production"
    made = alias_moves.history(alias_moves.read(MODEL))[-1]
    assert (made.by, made.before, made.version, made.reason) == ("bootstrap", "4", "2", "version 4 has lost its files")


def test_recovering_moves_nothing_where_no_version_is_whole(
    place: Place, settings: Any, console: Console, tmp_path: Path
) -> None:
    key = tmp_path / "another-key.pem"
    key.write_text(new_private_key())
    key.with_suffix(".id").write_text(key_id_of(key.read_text()))
    place.move_alias(signed_version(place))
    assert not production.recover(replace(settings, signing_key=key), "its files", console)
    assert "Version 1 is passed over: it has lost the key that it is signed with" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_tag_that_names_another_key_takes_no_version_out_of_production_or_its_history(
    place: Place, settings: Any, console: Console
) -> None:
    place.client.set_model_version_tag(MODEL, "1", "signed_by", "another key")
    before = alias_moves.read(MODEL)
    assert production.recover(settings, "the key that it is signed with", console)
    assert alias_moves.read(MODEL) == before
    assert "Version 1 of" in console.file.getvalue()  # type: ignore[attr-defined]
    place.move_alias(signed_version(place))
    assert production.recover(settings, "its files", console)
    assert place.registry()["alias"] == "1"


BAD_RECORDS = {
    "move.20991231T000000.000000.deadbeef": "not json",
    "move.20991231T000000.000001.deadbeef": json.dumps(["a", "list"]),
    "move.20991231T000000.000002.deadbeef": "x" * 5000,
    "move.20991231T000000.000003.deadbeef": json.dumps({"by": "x [/nope]"}),
}


def test_records_that_cannot_be_read_stop_neither_history_nor_rollback_nor_a_training(
    place: Place, settings: Any, console: Console
) -> None:
    production.promote(settings, "2", "x [/nope]\x1b[2J", console)
    for key, text in BAD_RECORDS.items():
        place.client.set_registered_model_tag(MODEL, key, text)
    result = place.command("history")
    assert "[/nope]" in ran(result)
    assert r"\x1b[2J" in result.stdout
    assert "no readable record of a move, and passed over: the tag move.20991231" in result.stderr
    assert (result.stdout + result.stderr).replace("\n", "").isprintable()
    production.rollback(settings, "y", console)
    assert place.registry()["alias"] == "1"
    assert "passed over: the tag move.20991231" in console.file.getvalue()  # type: ignore[attr-defined]
    trained = place.command("train", "--no-promote")
    assert "passed over: the tag move.20991231" in ran(trained)


@pytest.mark.parametrize("command", ["history", "rollback"])
def test_where_nothing_is_registered_it_is_said_what_makes_the_first_version(place: Place, command: str) -> None:
    result = place.command(command, "--model-name", "nothing_yet")
    assert (result.returncode, result.stdout) == (5, "")
    words = "trainer: no version of nothing_yet is registered yet: `train` makes the first, and `models` shows what there is"
    assert result.stderr.strip() == words


def test_all_models_are_listed_up_to_an_end_that_is_said(
    place: Place, settings: Any, console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        place.client.create_registered_model(f"!{number:03d}")
    production.show_models(settings, True, console)
    listed = capsys.readouterr()
    assert [model["name"] for model in json.loads(listed.out)][-1] == MODEL
    assert listed.err == ""
    monkeypatch.setattr(registry, "MOST_MODELS", 100)
    production.show_models(settings, True, console)
    listed = capsys.readouterr()
    assert MODEL not in {model["name"] for model in json.loads(listed.out)}
    assert "there are more: these are the first 100 by name" in listed.err
    monkeypatch.setattr(registry, "models", lambda: ([], True))
    production.show_models(settings, False, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said == "No model is registered yet: `train` registers the first version of one.\n"


def test_a_metric_of_the_champion_that_is_no_number_stops_neither_a_training_nor_a_list_of_models(place: Place) -> None:
    run_id = place.client.get_model_version(MODEL, "1").run_id
    for name, value in (("test_accuracy", math.nan), ("test_f1_macro", math.inf)):
        place.client.log_metric(run_id, name, value)
    record = json.loads(ran(place.command("train", "--json")))
    assert record["rounds"][0]["champion"]["score"] is None
    assert place.client.get_run(record["run_id"]).info.status == "FINISHED"
    (listed,) = json.loads(ran(place.command("models", "--json")))
    assert listed["figures"] == {}


def test_versions_in_another_store_stop_neither_history_nor_rollback_nor_a_training(
    place: Place, settings: Any, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, location in enumerate(("s3://bucket/x", "gs://bucket/x", "ftp://127.0.0.1:9/x")):
        experiment = place.client.create_experiment(f"elsewhere {number}", artifact_location=location)
        model = place.client.create_logged_model(experiment)
        version = str(place.client.create_model_version(MODEL, f"models:/{model.model_id}").version)
        alias_moves.move(MODEL, "promote", version, "x")
    production.show_history(settings, False, console)
    said = f"version {version}, in Production, has lost its files (its files are at 'ftp://127.0.0.1:9/x"
    assert said in capsys.readouterr().err
    production.rollback(settings, "y", console)
    assert place.registry()["alias"] == "1"
    assert console.file.getvalue().count("is passed over: its files are at ") == 2  # type: ignore[attr-defined]
    place.move_alias(version)
    trained = json.loads(ran(place.command("train", "--json")))
    assert trained["promoted"]
    assert "has lost its files (its files are at 'ftp:" in trained["reason"]


def test_a_reason_of_any_length_is_recorded(place: Place, settings: Any, console: Console) -> None:
    production.promote(settings, "2", '"\\\n\u202e\U0001f600' * 5000, console)
    found = alias_moves.read(MODEL)
    assert not found.remarks
    assert list(found.moves.values())[-1].version == "2"
    assert all(len(text) <= 5000 for text in place.client.get_registered_model(MODEL).tags.values())


def test_at_80_columns_the_names_of_models_are_whole_and_figures_are_in_words(place: Place, settings: Settings) -> None:
    console = Console(file=io.StringIO(), width=80)
    production.show_models(settings, False, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert f" {MODEL} " in shown
    assert "F1 macro" in shown
    assert " iris_dataset " in shown
    assert "…" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_a_models_name_of_any_kind_stops_no_list_of_models(
    place: Place, settings: Any, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["it's [red]", "both ' and \"", "\x1b[2Jcleared"]
    for name in names:
        place.client.create_registered_model(name)
    production.show_models(settings, False, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.replace("\n", "").isprintable()
    assert all(text in shown for text in (MODEL, "it's [red]", r"\x1b[2Jcleared"))
    production.show_models(settings, True, console)
    found = {model["name"]: model["versions"] for model in json.loads(capsys.readouterr().out)}
    assert [found[name] for name in [MODEL, *names]] == [2, 0, None, 0]
