"""What a look at a version's rows comes to, as DuckDB has them of the log, and what is said of it."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from monitoring import command, verdict
from monitoring.errors import NothingKept, TooFewRows, WrongOption
from monitoring.exposition import Figures
from monitoring.looking.look import Look, look
from monitoring.page import html_report
from monitoring.settings import Settings
from monitoring.sources import log_rows
from monitoring.sources.reference import Reference, of_profile
from monitoring.watch import Watch
from pyarrow import fs
from scipy import stats

from tests.unit.monitored import DAY, NOON, VERSION, Log, numbers, profile

pytestmark = [pytest.mark.unhurried, pytest.mark.usefixtures("one_engine")]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return of_profile(profile(), None)


# --- a look ---------------------------------------------------------------------------------------------------------


def test_rows_like_those_of_the_training_are_no_drift(log: Log, reference: Reference) -> None:
    log.keep(1000)
    found = log.look(reference)
    assert found.drifted == []
    assert {seen.column.name for seen in found.columns} == {"age", "city", "since", "prediction", "confidence"}
    assert found.quality.estimated.value == pytest.approx(0.7, abs=0.02)
    assert (found.quality.labelled, found.quality.accuracy) == (0, None)


def test_a_shift_is_drift_and_says_of_which_column_and_how_far(log: Log, reference: Reference) -> None:
    log.keep(1000, shift=0.7)
    found = log.look(reference)
    assert found.drifted == ["age"]
    assert found.columns[0].older.wasserstein == pytest.approx(0.7, abs=0.1)


def test_a_shift_in_the_newer_window_alone_is_no_drift_yet(log: Log, reference: Reference) -> None:
    ages = np.concatenate([numbers(500), numbers(500, 1.0, seed=2)])
    log.keep(1000, input_age=ages)
    found = log.look(reference)
    assert found.drifted == []
    (age,) = (seen for seen in found.columns if seen.column.name == "age")
    assert (age.older.drifted, age.newer.drifted) == (False, True)
    assert list(command.lines_of(found))[-1].startswith("no drift yet: in the newer window alone age; look again")
    assert "<b>No drift yet</b>: in the newer window alone\n<b>age</b>." in html_report.report(found)


def test_values_that_go_missing_are_drift_and_so_are_categories_that_nobody_knows(
    log: Log, reference: Reference
) -> None:
    ages = [None if at % 5 == 0 else float(value) for at, value in enumerate(numbers(1000))]
    cities = ["Chur" if at % 4 == 0 else "Basel" if at % 4 < 3 else "Bern" for at in range(1000)]
    log.keep(1000, input_age=pa.array(ages, pa.float64()), input_city=cities)
    found = log.look(reference)
    assert set(found.drifted) == {"age", "city"}
    seen = {one.column.name: one for one in found.columns}
    assert seen["age"].missing == pytest.approx(0.2)
    assert seen["city"].unknown == pytest.approx(0.25)
    assert not any(bar.label == "Chur" for bar in seen["city"].bars)


def test_a_date_that_moves_on_is_shown_and_is_no_drift(log: Log, reference: Reference) -> None:
    log.keep(600)
    (since,) = (seen for seen in log.look(reference).columns if seen.column.name == "since")
    assert (since.out_of_range, since.drifted) == (1.0, False)


def test_too_few_rows_say_how_many_are_missing_and_whose_the_others_are(log: Log, reference: Reference) -> None:
    log.keep(300)
    log.keep(50, version="6")
    with pytest.raises(
        TooFewRows, match=r"300 rows of .*50 are of other versions.* each needs 200, so 100 are missing"
    ) as error:
        log.look(reference)
    assert (error.value.rows, error.value.missing) == (300, 100)


def test_rows_of_one_request_cannot_be_two_windows(log: Log, reference: Reference) -> None:
    log.keep(1000, time=pa.array([NOON - timedelta(minutes=5)] * 1000, pa.timestamp("us", "UTC")))
    with pytest.raises(TooFewRows, match="200 are missing"):
        log.look(reference)


def test_where_nothing_is_kept_there_is_nothing_to_look_at(log: Log, reference: Reference) -> None:
    with pytest.raises(NothingKept, match="no prediction of 'churn' is kept"):
        log.look(reference)


# What is kept beside a look at the day before noon of the 26th, and the day before that one.
BEYOND = [f"predictions/model=churn/date=2026-{day}" for day in ("10-01/hour=11", "11-24/hour=11", "11-26/hour=13")]
BEYOND += [f"predictions/model=churn/date=2026-12-{day:02}/hour=00" for day in range(1, 31)]
BEYOND += [f"labels/model=churn/date=2026-11-{day:02}" for day in range(1, 24)]


def noting(files: fs.FileSystem, asked: set[str]) -> fs.FileSystem:
    """Return a file system that notes what is listed and opened."""

    def noted(name: str) -> Callable[..., Any]:
        def call(_: Any, what: Any, *others: Any) -> Any:
            asked.add(f"{name} {what.base_dir if isinstance(what, fs.FileSelector) else what}")
            return getattr(files, name.removesuffix("_selector"))(what, *others)

        return call

    methods = {name: noted(name) for name in fs.FileSystemHandler.__abstractmethods__}
    own = {"get_type_name": lambda _: "noting", "normalize_path": lambda _, path: path}
    return fs.PyFileSystem(type("Noting", (fs.FileSystemHandler,), methods | own)())


def test_a_look_neither_lists_nor_opens_what_is_kept_beyond_its_time(log: Log, reference: Reference) -> None:
    log.keep(1000)
    log.label(400, lambda at: True)
    before, after = set[str](), set[str]()
    files = log.store.files
    log.store.files = noting(files, before)
    assert log.look(reference).rows.count == 1000
    root = Path(log.store.root)
    for folder in BEYOND:
        (root / folder).mkdir(parents=True)
        (root / folder / "0.parquet").write_bytes(b"whoever opens it fails")
    log.store.files = noting(files, after)
    assert log.look(reference).quality.labelled == 400
    # Of its first day and its last, the names of the hours.
    ends = [f"{root}/predictions/model=churn/date=2026-11-{day}" for day in (24, 26)]
    assert after - before == {f"get_file_info_selector {folder}" for folder in ends}
    opened = {name.rpartition("/")[2] for name in after if name.startswith("open_input_file ")}
    assert opened == {"7.parquet", "labels.parquet"}


@pytest.mark.parametrize("day", ["2026-11-25", "2026-12-24"])
def test_a_label_is_found_however_late_it_comes(log: Log, reference: Reference, day: str) -> None:
    log.keep(1000)
    log.label(400, lambda at: True, day)
    assert log.look(reference).quality.labelled == 400


def test_a_label_is_that_of_the_first_prediction_of_an_id_also_where_that_was_before_the_time(
    log: Log, reference: Reference
) -> None:
    log.keep(1000)
    times = pa.array([DAY[0] - timedelta(hours=1)] * 30, pa.timestamp("us", "UTC"))
    log.keep(30, version="6", request_id=[f"7-{at}" for at in range(30)], time=times)
    log.label(100, lambda at: True)
    found = log.look(reference)
    assert (found.rows.count, found.quality.labelled) == (1000, 70)


def test_a_time_in_which_nothing_was_asked_has_no_rows(log: Log, reference: Reference) -> None:
    log.keep(1000)
    next_week = NOON + timedelta(days=7), NOON + timedelta(days=8)
    rows = log_rows.read(log.store, "churn", "7", next_week, reference)
    with pytest.raises(TooFewRows) as error:
        look(VERSION, reference, next_week, rows, 200, None)
    assert (error.value.rows, error.value.missing) == (0, 400)


def test_labels_that_came_give_accuracy_and_the_versions_own_metric(log: Log, reference: Reference) -> None:
    log.keep(1000)
    log.label(400, lambda at: at % 10 != 0)
    found = log.look(reference).quality
    assert found.labelled == 400
    assert found.accuracy.value == pytest.approx(0.9)
    assert found.accuracy.low == pytest.approx(stats.binomtest(360, 400).proportion_ci(method="wilson").low)
    assert found.metric.low < found.metric.value < found.metric.high


def test_a_column_that_is_not_kept_is_said_and_not_missed(log: Log, reference: Reference) -> None:
    log.keep(1000, input_city=None)
    found = log.look(reference)
    assert found.omitted == ("city",)
    with pytest.raises(WrongOption, match=r"--by 'city' is not kept \(PREDICTION_LOG_OMIT\); there are age, since"):
        log.look(reference, by="city")
    with pytest.raises(WrongOption, match="--by 'town' is no column of the version"):
        log.look(reference, by="town")


def test_slices_have_their_own_quality_and_name_no_value_that_the_training_did_not_have(
    log: Log, reference: Reference
) -> None:
    cities = ["Chur" if at % 4 == 0 else "Basel" for at in range(1000)]
    log.keep(1000, input_city=cities)
    log.label(1000, lambda at: at % 4 != 0)
    parts = {part.name: part for part in log.look(reference, by="city").parts}
    assert {name: part.rows for name, part in parts.items()} == {"Basel": 750, "other": 250}
    assert parts["Basel"].quality.accuracy.value == 1
    assert parts["other"].quality.accuracy.value == 0
    assert sum(part.rows for part in log.look(reference, by="age").parts) == 1000


def test_a_profile_of_an_earlier_trainer_is_compared_by_what_it_has(log: Log) -> None:
    old = profile()
    del old["held_out"], old["columns"]["age"]["deciles"]
    reference = of_profile(old, {"metrics": {"test_accuracy": 0.8}})
    log.keep(1000, shift=0.7)
    found = log.look(reference)
    assert found.drifted == ["age"]
    assert (found.reference.accuracy, found.quality.estimated) == (0.8, None)
    assert len(found.reference.lacks) == 3
    assert "earlier trainer" in html_report.report(found)


def test_more_rows_than_are_read_are_counted_all_and_read_in_part(
    log: Log, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_rows, "MOST_ROWS", 500)
    log.keep(1000)
    rows = log_rows.read(log.store, "churn", "7", DAY, reference)
    assert rows.count == 1000
    assert 400 < len(rows) < 600


# --- what it says ---------------------------------------------------------------------------------------------------


def test_the_page_and_the_figures_say_what_was_seen_and_no_value_of_a_clients(log: Log) -> None:
    hostile = profile()
    hostile["columns"]["<b>&\"'"] = hostile["columns"].pop("age")
    reference = of_profile(hostile, None)
    columns: dict[str, Any] = {"input_<b>&\"'": numbers(1000, 1.0), "input_age": None}
    log.keep(1000, input_city=["s3cret"] * 1000, **columns)
    found = log.look(reference, by="city")
    page = html_report.report(found)
    figures = Figures()
    figures.take(found, NOON)
    told = figures.exposition().decode()
    assert '<b>&"' not in page
    assert "&lt;b&gt;" in page
    assert 'monitor_column_drifted{column="<b>&\\"\'"} 1.0' in told
    assert 'monitor_looks_total{result="drift"} 1.0' in told
    assert "monitor_drift_detected 1.0" in told
    assert not any("s3cret" in text for text in (page, told, json.dumps(verdict.whole(found, NOON))))
    assert "http" not in page


def test_a_verdict_says_in_short_what_others_act_on(log: Log, reference: Reference) -> None:
    log.keep(1000, shift=1.0)
    assert verdict.status(log.look(reference), NOON) == {
        "drift": True,
        "columns": ["age"],
        "window": ["2026-11-25T12:00:00Z", "2026-11-26T12:00:00Z"],
        "rows": 1000,
        "missing_rows": 0,
        "model": "churn",
        "version": "7",
        "looked": "2026-11-26T12:00:00Z",
        "problem": None,
        "accuracy": None,
        "labelled_rows": 0,
        "estimated_accuracy": pytest.approx(0.7, abs=0.02),
    }


# --- the service ----------------------------------------------------------------------------------------------------


def test_the_service_puts_a_report_into_mlflow_when_drift_begins_and_not_at_each_look(
    log: Log, reference: Reference, tmp_path: Path
) -> None:
    log.keep(1000)
    quiet = log.look(reference)
    log.keep(1000, shift=1.0)
    drifted = log.look(reference)
    looks, recorded = iter([quiet, drifted, drifted, quiet, drifted]), []
    watch = Watch(Settings.from_env({}), lambda: next(looks), lambda look, page: recorded.append(look.drifted))
    for _ in range(5):
        watch.once()
    assert recorded == [["age"], ["age"]]
    assert watch.status["drift"]
    assert 'monitor_looks_total{result="drift"} 3.0' in watch.figures.exposition().decode()


def test_drift_that_mlflow_did_not_take_is_logged_at_a_later_look_and_then_no_more(
    log: Log, reference: Reference
) -> None:
    log.keep(1000, shift=1.0)
    drifted, answers = log.look(reference), [True, False, False]  # the last of them first

    def record(*_: object) -> None:
        if answers.pop():
            return
        raise NothingKept("MLflow does not answer")

    watch = Watch(Settings.from_env({}), lambda: drifted, record)
    for _ in range(5):
        watch.once()
    assert answers == []
    assert watch.status["problem"] is None


def test_a_look_that_comes_to_nothing_leaves_what_the_last_one_found_and_says_why(
    log: Log, reference: Reference
) -> None:
    log.keep(1000, shift=1.0)
    found = log.look(reference)

    def looks() -> Iterator[Look]:
        yield found
        raise TooFewRows("150 rows", 150, 250)

    answers = looks()
    watch = Watch(Settings.from_env({"MONITOR_LOG": "false"}), lambda: next(answers), lambda look, page: None)
    watch.once()
    watch.once()
    assert (watch.status["drift"], watch.status["columns"]) == (True, ["age"])
    assert (watch.status["problem"], watch.status["missing_rows"]) == ("150 rows", 250)
    told = watch.figures.exposition().decode()
    assert "monitor_drift_detected 1.0" in told
    assert "monitor_missing_rows 250.0" in told
    assert 'monitor_looks_total{result="too_few"} 1.0' in told


def test_what_one_version_was_asked_says_nothing_of_the_next(log: Log, reference: Reference) -> None:
    log.keep(1000, shift=1.0)
    found = log.look(reference)
    too_few = TooFewRows("150 rows", 150, 250)
    too_few.version = "another"

    def looks() -> Iterator[Look]:
        yield found
        raise too_few

    answers = looks()
    watch = Watch(Settings.from_env({"MONITOR_LOG": "false"}), lambda: next(answers), lambda look, page: None)
    watch.once()
    watch.once()
    assert (watch.status["drift"], watch.status["columns"], watch.status["version"]) == (False, [], "another")
    assert "monitor_drift_detected" not in watch.figures.exposition().decode()
