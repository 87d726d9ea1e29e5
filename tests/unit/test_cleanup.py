"""What a clean-up takes and what it leaves, by the records alone; ages, sizes and places as it reads and writes them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cleanup import database, report
from cleanup.__main__ import Age, _command
from cleanup.choice import Choice, Rules, choose
from cleanup.errors import Elsewhere
from cleanup.files import Folder, Objects, Stores
from cleanup.records import Experiment, Item, Model, Registry, Run, Tracking, Version
from cleanup.settings import Settings
from click import BadParameter
from contract.tracking.alias_history import Move
from trainer.tracking import run_lifecycle

DAY = 86_400_000
NOW = 100 * DAY
MONTH = Rules(30 * DAY)
NAME = "flowers"


def run(id: str, days: int = 40, deleted: bool = False, status: str = "FINISHED", parent: str | None = None) -> Run:
    when = NOW - days * DAY
    return Run(
        id, f"run {id}", "1", f"mlflow-artifacts:/1/{id}/artifacts", status, when, when if deleted else None, parent
    )


def model(of: str, days: int = 40, deleted: bool = False) -> Model:
    id = f"m-{of}"
    return Model(id, "classifier", "1", f"mlflow-artifacts:/1/models/{id}/artifacts", of, NOW - days * DAY, deleted)


def version(number: int, days: int = 40) -> Version:
    id = f"r{number}"
    place = f"mlflow-artifacts:/1/models/m-{id}/artifacts"
    return Version(NAME, str(number), NOW - days * DAY, id, f"m-{id}", (f"models:/m-{id}", place))


def move(before: int | None, after: int, by: str = "train") -> Move:
    return Move("2026-01-01T00:00:00+00:00", by, str(before) if before else None, str(after), "")


def registry(versions: Sequence[Version] = (), moves: Sequence[Move] = (), **aliases: int) -> Registry:
    return Registry(versions, {NAME: {alias: str(number) for alias, number in aliases.items()}}, {NAME: moves})


def tracking(*parts: Run | Model | Experiment) -> Tracking:
    return Tracking(
        {part.id: part for part in parts if isinstance(part, Run)},
        {part.id: part for part in parts if isinstance(part, Model)},
        {part.id: part for part in parts if isinstance(part, Experiment)},
    )


def ids(items: Sequence[Item]) -> set[str]:
    return {item.id for item in items}


def chosen(found: Tracking, registered: Registry | None = None, rules: Rules = MONTH) -> Choice:
    return choose(found, registered or registry(), rules, NOW)


def test_what_was_deleted_long_ago_goes_and_what_nobody_deleted_stays() -> None:
    choice = chosen(tracking(run("a", deleted=True), model("b", deleted=True), run("c"), model("d")))
    assert (ids(choice.goes), choice.stays, choice.restored) == ({"a", "m-b"}, [], [])


def test_what_was_deleted_lately_stays_and_is_told() -> None:
    choice = chosen(tracking(run("a", days=29, deleted=True), run("b", days=30, deleted=True)))
    assert ids(choice.goes) == {"b"}
    assert [item.why for item in choice.stays] == ["too young; deleted in MLflow"]


@pytest.mark.parametrize("alias", ["Production", "candidate", "what ever"])
def test_what_any_alias_needs_is_restored_and_never_goes(alias: str) -> None:
    found = tracking(run("r1", deleted=True), model("r1", deleted=True), run("r2", deleted=True))
    choice = chosen(found, Registry([version(1)], {NAME: {alias: "1"}}, {}))
    assert (ids(choice.goes), ids(choice.restored)) == ({"r2"}, {"r1", "m-r1"})
    assert choice.restored[0].why == f"needed by {alias} of {NAME}: version 1"


def test_what_somebody_deleted_a_minute_ago_is_restored_as_well() -> None:
    assert ids(chosen(tracking(run("r1", days=0, deleted=True)), registry([version(1)], Production=1)).restored) == {
        "r1"
    }


def test_the_children_of_a_run_that_is_needed_are_needed() -> None:
    child = run("child", deleted=True, parent="r1")
    choice = chosen(tracking(run("r1"), child), registry([version(1)], Production=1))
    assert (choice.goes, ids(choice.restored)) == ([], {"child"})


def test_files_that_a_version_has_in_the_folder_of_another_run_are_needed() -> None:
    theirs = Version(NAME, "1", NOW, None, None, ("runs:/a/model", "mlflow-artifacts:/1/a/artifacts/model"))
    choice = chosen(tracking(run("a", deleted=True), run("a2", deleted=True)), registry([theirs], Production=1))
    assert (ids(choice.goes), ids(choice.restored)) == ({"a2"}, {"a"})


def test_a_run_without_files_is_not_needed_for_files_in_a_folder() -> None:
    theirs = Version(NAME, "1", NOW, None, None, ("/artifacts/1/abc/artifacts",))
    choice = chosen(tracking(replace(run("a", deleted=True), location="")), registry([theirs], Production=1))
    assert (ids(choice.goes), choice.restored) == ({"a"}, [])


def test_the_way_back_is_needed_as_far_as_it_is_set() -> None:
    moves = [move(None, 1), move(1, 2), move(2, 3), move(3, 4)]
    found = tracking(*(run(f"r{number}", deleted=True) for number in (1, 2, 3, 4)))
    versions = [version(number) for number in (1, 2, 3, 4)]
    for rollbacks, gone in ((1, {"r1", "r2"}), (2, {"r1"}), (10, set())):
        choice = chosen(found, registry(versions, moves, Production=4), replace(MONTH, rollbacks=rollbacks))
        assert ids(choice.goes) == gone


def test_after_a_rollback_the_versions_before_it_are_needed_still() -> None:
    moves = [move(None, 1), move(1, 2), move(2, 3), move(3, 2, "rollback")]
    found = tracking(*(run(f"r{number}", deleted=True) for number in (1, 2, 3)))
    choice = chosen(
        found, registry([version(1), version(2), version(3)], moves, Production=2), replace(MONTH, rollbacks=1)
    )
    assert ids(choice.restored) == {"r1", "r2", "r3"}


def test_a_version_without_alias_whose_model_was_deleted_loses_its_files_and_that_is_told() -> None:
    (item,) = chosen(tracking(model("r1", deleted=True)), registry([version(1)])).goes
    assert item.why == "deleted in MLflow; version 1 of flowers loses its files"


def test_a_logged_model_goes_with_its_deleted_run_unless_a_version_has_it() -> None:
    found = tracking(run("r1", deleted=True), model("r1"), run("x", deleted=True), model("x"))
    assert ids(chosen(found, registry([version(1)])).goes) == {"r1", "x", "m-x"}


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_what_a_stopped_training_left_goes_with_its_children(status: str) -> None:
    stopped = replace(run("a", status=status), is_unfinished_training=True)
    found = tracking(stopped, model("a"), run("child", parent="a"), run("a notebook's", status=status))
    assert ids(chosen(found).goes) == {"a", "m-a", "child"}


def test_a_stopped_training_that_came_to_a_version_stays() -> None:
    stopped = replace(run("r1", status="KILLED"), is_unfinished_training=True)
    assert chosen(tracking(stopped, model("r1")), registry([version(1)])).goes == []


def test_a_running_training_stays_with_all_that_it_has() -> None:
    running = replace(run("r1", status="RUNNING"), is_unfinished_training=True)
    found = tracking(running, model("r1"), run("child", parent="r1"))
    choice = chosen(found, registry([version(1)]), replace(MONTH, keep_versions=0))
    assert (choice.goes, choice.stays) == ([], [])


def test_versions_beyond_those_to_keep_go_with_their_runs_and_models_but_for_those_that_were_in_production() -> None:
    numbers = range(1, 7)
    found = tracking(*(part for n in numbers for part in (run(f"r{n}"), model(f"r{n}"), run(f"c{n}", parent=f"r{n}"))))
    versions = [*(version(number) for number in numbers if number != 4), replace(version(4), has_been_shown=True)]
    registered = registry(versions, [move(None, 1)], Production=1, tried=2)
    choice = chosen(found, registered, replace(MONTH, keep_versions=1))
    assert ids(choice.goes) == {"3", "5", *(part for n in (3, 5) for part in (f"r{n}", f"m-r{n}", f"c{n}"))}
    assert [(item.id, item.why) for item in choice.stays] == [("2", f"needed by tried of {NAME}: version 2")]
    assert choice.restored == []


def test_files_that_a_version_of_another_model_was_copied_from_stay() -> None:
    copied = Version("copy", "1", NOW, None, None, ("models:/flowers/1", version(1).locations[1]))
    choice = chosen(tracking(run("r1"), model("r1")), registry([version(1), copied]), replace(MONTH, keep_versions=1))
    assert choice.goes == []
    choice = chosen(
        tracking(run("r1"), model("r1")), registry([version(1), version(2), copied]), replace(MONTH, keep_versions=1)
    )
    assert ids(choice.goes) == {"1", "r1"}


def test_young_versions_stay_however_many_there_are() -> None:
    choice = chosen(tracking(run("r1")), registry([version(1, days=3)]), replace(MONTH, keep_versions=0))
    assert (choice.goes, ids(choice.stays)) == ([], {"1"})


def test_a_deleted_experiment_goes_when_nothing_is_left_in_it() -> None:
    gone = Experiment("1", "junk", NOW - 40 * DAY, deleted=True)
    assert ids(chosen(tracking(gone, run("a", deleted=True))).goes) == {"a", "1"}
    choice = chosen(tracking(gone, run("a", days=3, deleted=True)))
    assert (choice.goes, ids(choice.stays)) == ([], {"a", "1"})
    choice = chosen(tracking(gone, run("r1", deleted=True)), registry([version(1)], Production=1))
    assert (choice.goes, ids(choice.restored)) == ([], {"r1", "1"})


def test_files_that_are_out_of_reach_keep_what_they_belong_to() -> None:
    choice = choose(tracking(run("a", deleted=True)), registry(), MONTH, NOW, lambda location, of: f"{of} is elsewhere")
    assert (choice.goes, [item.why for item in choice.stays]) == ([], ["a is elsewhere"])


def test_the_tag_of_a_living_training_is_the_trainers() -> None:
    assert database.HEARTBEAT == run_lifecycle.HEARTBEAT


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("30d", 30 * DAY), ("12h", DAY // 2), ("2w", 14 * DAY), ("90min", DAY // 16), ("1s", 1000)],
)
def test_an_age_is_a_number_and_a_unit(text: str, milliseconds: int) -> None:
    assert Age().convert(text, None, None) == milliseconds


@pytest.mark.parametrize("text", ["", "0d", "30", "d", "-1d", "1.5h", "30 d", "1y", "9999999w", "٣d"])
def test_no_age_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(BadParameter, match="expected a whole number from 1 and a unit, such as 30d, 12h or 2w"):
        Age().convert(text, None, None)


def test_minutes_that_may_be_meant_as_months_are_refused_with_both() -> None:
    with pytest.raises(BadParameter, match="6m may be minutes or months; say 6min or 180d"):
        Age().convert("6m", None, None)


@pytest.mark.parametrize(
    ("location", "destination"),
    [
        ("mlflow-artifacts:/1/abc/artifacts", "{folder}"),
        ("file://{folder}/1/abc/artifacts", None),
        ("{folder}/1/abc/artifacts", None),
    ],
)
def test_files_in_a_folder_are_measured_and_removed_and_nothing_beside_them(
    tmp_path: Path, location: str, destination: str | None
) -> None:
    for name in ("abc", "abcd"):
        (tmp_path / "1" / name / "artifacts" / "deep").mkdir(parents=True)
        (tmp_path / "1" / name / "artifacts" / "deep" / "file").write_bytes(b"12345")
    place = Stores(destination and destination.format(folder=tmp_path), None).place(
        location.format(folder=tmp_path), "abc"
    )
    assert isinstance(place, Folder)
    assert place.size() == 5
    place.remove()
    place.remove()
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["abcd"]


@pytest.mark.parametrize(
    ("location", "destination"),
    [
        ("mlflow-artifacts:/1/other/artifacts", "s3://mlflow"),
        ("mlflow-artifacts:/1/abc", "s3://mlflow"),
        ("mlflow-artifacts:/../abc/artifacts", "s3://mlflow"),
        ("mlflow-artifacts:/%2e%2e/abc/artifacts", "s3://mlflow"),
        ("mlflow-artifacts:/1/abc/artifacts", None),
        ("file:///etc/abc/artifacts", "s3://mlflow"),
        ("/etc/abc/artifacts", "s3://mlflow"),
        ("file://host/etc/abc/artifacts", None),
        ("s3://another/1/abc/artifacts", "s3://mlflow"),
        ("s3://mlflow-too/1/abc/artifacts", "s3://mlflow"),
        ("", None),
    ],
)
def test_files_in_no_folder_of_their_own_or_in_another_store_are_left_alone(
    location: str, destination: str | None
) -> None:
    with pytest.raises(Elsewhere, match="its files are at"):
        Stores(destination, None).place(location, "abc")


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (1_234_567, "1.2 MB"), (5 * 10**9, "5.0 GB")],
)
def test_bytes_are_told_as_people_write_them(count: int, said: str) -> None:
    assert report.size(count) == said


def test_what_others_have_named_is_shown_and_not_obeyed() -> None:
    item = Item("run", "a", "\x1b[2Jname", NOW, "why")
    assert "\x1b" not in "".join(report.table([item], NOW))


@pytest.mark.parametrize(
    ("keeps", "days", "said"),
    [
        (False, "30", "5 bytes are free again. This cannot be undone."),
        (True, "30", "for 30 days (KEEP_DELETED_DAYS)"),
        (True, "0", "for ever (KEEP_DELETED_DAYS=0)"),
        (True, "", "as long as its own rules say"),
    ],
)
def test_how_long_it_can_be_undone_is_told(keeps: bool, days: str, said: str) -> None:
    item = Item("run", "a", "name", NOW, "why")
    done = report.done([item], {item: 5}, keeps, days)
    assert said in done
    assert ("No room is free yet" in done) == keeps
    assert said in report.beforehand(keeps, days) or not keeps


def test_a_stack_s_clean_up_is_told_its_store_and_one_without_docker_has_none() -> None:
    without = {"MLFLOW_BACKEND_STORE_URI": "sqlite:///mlflow.db"}
    assert Settings.from_env(without) == Settings("sqlite:///mlflow.db", None, None, "", is_in_stack=False)
    stack = {"MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow", "KEEP_DELETED_DAYS": "30", "BACKEND_STORE_URI_FILE": "/uri"}
    stack["MLFLOW_S3_ENDPOINT_URL"] = "http://minio:9000"
    expected = Settings("sqlite:///mlflow.db", "s3://mlflow", "http://minio:9000", "30", is_in_stack=True)
    assert Settings.from_env(without | stack) == expected


def test_the_bucket_is_where_the_settings_say_whatever_the_environment_says_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://another:9000")
    place = Stores("s3://mlflow", "http://minio:9000").place("s3://mlflow/1/abc/artifacts", "abc")
    assert isinstance(place, Objects)
    assert place.client.meta.endpoint_url == "http://minio:9000"


def test_what_is_typed_to_do_it_is_said_for_the_stack_and_without_docker() -> None:
    assert _command(["--older-than", "2w"], True) == "docker compose run --rm cleanup --older-than 2w --yes"
    assert _command(["--older-than", "2w"], False) == 'make cleanup ARGS="--older-than 2w --yes"'
