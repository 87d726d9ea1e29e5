"""What is drift and what is chance, how good answers are, and what a look at a version's rows comes to."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from contract.reference import bins
from monitoring import command, verdict, watch
from monitoring.errors import NothingKept, TooFewRows, WrongOption
from monitoring.exposition import Figures
from monitoring.looking.look import Look, look
from monitoring.page import html_report
from monitoring.settings import Settings, time_of
from monitoring.sources import log_rows
from monitoring.sources.reference import Reference, of_profile
from monitoring.statistics import drift, metrics, quality
from monitoring.statistics.metrics import Answers
from monitoring.watch import Watch
from pyarrow import fs
from scipy import stats
from sklearn import metrics as measures

from tests.unit.monitored import DAY, NOON, VERSION, Log, numbers, profile

pytestmark = pytest.mark.usefixtures("one_engine")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return of_profile(profile(), None)


# --- distances ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held_out", [30, 120, 1000])
@pytest.mark.parametrize("labelled", [1000, 5000])
def test_a_version_that_is_as_good_as_in_its_test_is_rarely_taken_for_worse(held_out: int, labelled: int) -> None:
    draws = np.random.default_rng(0)
    before, now = draws.binomial(held_out, 0.95, 400), draws.binomial(labelled, 0.95, 400)
    lows = [
        quality.drop(quality.share(then, held_out), quality.share(later, labelled))
        for then, later in zip(before, now, strict=True)
    ]
    assert np.mean(np.array(lows) > 0) < 0.05  # one end of 95 % is 2.5 %
    assert quality.drop(quality.share(round(0.95 * held_out), held_out), quality.share(labelled // 2, labelled)) > 0.2


def test_the_difference_of_two_shares_has_the_interval_of_its_source() -> None:
    # Newcombe 1998, table II, example (a): 56/70 and 48/80, method 10: 0.0524 to 0.3339.
    assert quality.drop(quality.share(56, 70), quality.share(48, 80)) == pytest.approx(0.0524, abs=5e-5)


def test_distances_of_counts_are_what_their_definitions_say() -> None:
    reference, window = np.array([60.0, 40.0, 50.0]), np.array([30.0, 50.0, 70.0])
    found = drift.distance(reference, window)
    p, q = (reference + 0.5) / 151.5, (window + 0.5) / 151.5
    assert found.psi == pytest.approx(sum((b - a) * np.log(b / a) for a, b in zip(p, q, strict=True)))
    assert found.chance == pytest.approx((1 / 150 + 1 / 150) * stats.chi2.ppf(0.999, 2))
    middle = (reference + window) / 300
    divergences = [sum(x / 150 * np.log2(x / 150 / middle)) for x in (reference, window)]
    assert found.js == pytest.approx(np.sqrt(np.mean(divergences)))
    expected = (reference + window) / 2
    chi2 = sum(((x - expected) ** 2 / expected).sum() for x in (reference, window))
    assert found.p == pytest.approx(stats.chi2.sf(chi2, 2))


def test_bins_that_are_too_rare_for_a_test_are_taken_together_and_empty_ones_left_out() -> None:
    reference, window = drift.pooled(np.array([100, 3, 0, 2, 95]), np.array([98, 2, 0, 4, 96]))
    assert sorted(zip(reference, window, strict=True)) == [(5, 6), (95, 96), (100, 98)]


def test_a_window_that_is_all_in_one_bin_is_far_off_also_where_the_reference_is_small() -> None:
    found = drift.distance(np.full(10, 3), np.array([600, *[0] * 9]))
    assert found.p < 1e-20
    assert found.drifted(found.p)


def test_nothing_is_far_from_nothing() -> None:
    assert drift.distance(np.zeros(3), np.zeros(3)) == drift.Distance(0, 0, 0, 1)
    assert drift.distance(np.array([5, 5]), np.zeros(2)).p == 1


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_wasserstein_distance_by_quantiles_is_scipys_of_the_rows(shift: float) -> None:
    then, now = numbers(20_000), numbers(20_000, shift, seed=1)
    shares = np.linspace(0, 1, 101)
    found = drift.wasserstein(shares, np.quantile(then, shares), now)
    assert found == pytest.approx(stats.wasserstein_distance(then, now), abs=0.015)


@pytest.mark.fuzz
def test_chance_alone_is_hardly_ever_drift_and_half_a_standard_deviation_is_found() -> None:
    """Of a hundred looks at ten columns, in one window alone: the rule asks for two."""
    alarms = found = 0
    for seed in range(100):
        edges = bins.deciles(then := numbers(1000, seed=1000 + seed))
        binned = bins.counts(then, edges)
        columns = [bins.counts(numbers(300, seed=50 * seed + at), edges) for at in range(10)]
        distances = [drift.distance(binned, column) for column in columns]
        qs = drift.corrected([one.p for one in distances])
        alarms += any(one.drifted(q) for one, q in zip(distances, qs, strict=True))
        moved = drift.distance(binned, bins.counts(numbers(300, 0.5, seed=seed), edges))
        found += moved.drifted(moved.p)
    assert alarms <= 2
    assert found >= 95


def test_deciles_of_a_column_that_is_mostly_one_value_are_fewer_and_hold_all_its_rows() -> None:
    values = np.array([0.0] * 70 + [*range(1, 31)])
    edges = bins.deciles(values)
    assert (np.diff(edges) > 0).all()
    assert bins.counts(values, edges).sum() == 100
    assert len(bins.deciles(np.empty(0))) == 0


def test_windows_are_cut_in_the_middle_and_never_within_a_moment() -> None:
    assert drift.middle(np.array([1, 2, 3, 4])) == 2
    assert drift.middle(np.array([1, 2, 2, 2, 2, 3])) in (1, 5)
    assert drift.middle(np.array([7, 7, 7])) in (0, 3)
    assert drift.middle(np.array([])) == 0


# --- quality --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "f1_weighted",
        "f1_micro",
        "precision_macro",
        "recall_weighted",
        "jaccard_macro",
    ],
)
def test_metrics_of_labels_are_scikit_learns(name: str) -> None:
    rng = np.random.default_rng(0)
    truth, said, weights = rng.integers(0, 3, 300), rng.integers(0, 3, 300), rng.integers(0, 3, 300).astype(float)
    kind, _, average = name.partition("_")
    if "accuracy" in name:
        known = getattr(measures, "balanced_accuracy_score" if kind == "balanced" else "accuracy_score")(
            truth, said, sample_weight=weights
        )
    else:
        known = getattr(measures, f"{kind}_score")(truth, said, average=average, sample_weight=weights)
    assert metrics.value(name, Answers(truth, said, ("a", "b", "c")), weights) == pytest.approx(known)


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "roc_auc", "log_loss", "brier_score"])
def test_metrics_of_two_classes_are_scikit_learns(name: str) -> None:
    rng = np.random.default_rng(1)
    truth, likely = rng.integers(0, 2, 200), rng.uniform(0.01, 0.99, 200)
    answers = Answers(truth, (likely > 0.5).astype(int), ("no", "yes"), 1, np.stack([1 - likely, likely], 1))
    score = {"brier_score": "brier_score_loss", "log_loss": "log_loss"}.get(name, f"{name}_score")
    given = answers.predicted if name in ("f1", "precision", "recall") else likely
    found = metrics.value(name, answers, np.ones(200))
    assert found == pytest.approx(getattr(measures, score)(truth, given))


@pytest.mark.parametrize("name", ["r2", "rmse", "mae", "mean_squared_error", "mean_absolute_percentage_error"])
def test_metrics_of_numbers_are_scikit_learns(name: str) -> None:
    truth, said = numbers(100), numbers(100, seed=1)
    long = metrics.SHORT.get(name, name)
    known = getattr(measures, "r2_score" if name == "r2" else long)(truth, said)
    assert metrics.value(name, Answers(truth, said), np.ones(100)) == pytest.approx(known)


def test_a_metric_that_is_not_computed_here_has_no_value_and_no_interval() -> None:
    answers = Answers(np.array([0, 1]), np.array([0, 1]), ("a", "b"))
    assert metrics.value("matthews_corrcoef", answers, np.ones(2)) is None
    assert metrics.value("roc_auc", answers, np.ones(2)) is None
    assert quality.measured("matthews_corrcoef", answers, np.arange(2)) is None


def test_a_metrics_interval_is_wider_where_the_rows_are_of_few_requests() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 2, 40), 25)
    said = np.repeat(rng.integers(0, 2, 40), 25)
    answers = Answers(truth, said, ("a", "b"), 1)
    rows = quality.measured("f1", answers, np.arange(1000))
    requests = quality.measured("f1", answers, np.repeat(np.arange(40), 25))
    assert rows.value == requests.value
    assert requests.high - requests.low > 3 * (rows.high - rows.low)


def test_accuracy_without_labels_is_what_such_confidence_was_worth_and_its_interval_knows_of_a_small_hold_out() -> None:
    at, right = np.array([0.5, 1.0]), np.array([0.5, 0.7])
    found = quality.estimated(np.full(10_000, 0.95), at, right, 10_000)
    assert found.value == pytest.approx(0.68)
    sure = quality.estimated(np.full(10_000, 1.0), at, np.array([0.5, 1.0]), 30)
    assert sure.value == 1.0
    assert sure.low < 0.95


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


@pytest.mark.parametrize(
    ("text", "length"), [("90m", timedelta(minutes=90)), ("24h", timedelta(days=1)), ("7d", timedelta(days=7))]
)
def test_a_time_is_a_number_and_its_unit(text: str, length: timedelta) -> None:
    assert time_of("--last", text) == length


@pytest.mark.parametrize("text", ["", "24", "0h", "-1h", "1w", "99999d", "1h30m"])
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(WrongOption, match=r"--last is .*; expected a number and m, h or d"):
        time_of("--last", text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MONITOR_SECONDS", "0"),
        ("MONITOR_ROWS", "10"),
        ("MONITOR_LAST", "soon"),
        ("MONITOR_LOG", "yes"),
        ("MODEL_TRUST", "no"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(WrongOption, match=f"{name} is '{value}'; expected"):
        Settings.from_env({name: value})


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


class Ended(Exception):
    """What a signal raises."""


def test_the_watch_says_its_settings_first_and_of_the_service_s_those_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def serving(*_: object) -> None:
        raise Ended

    monkeypatch.setattr(watch, "serving", serving)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    monkeypatch.setattr("inference.prediction_log.store.Store.of", lambda _: None)
    environ = {"MLFLOW_TRACKING_URI": "postgresql://anna:hidden@mlflow.example", "MONITOR_LAST": "7d"}
    with caplog.at_level("INFO", "inference"), pytest.raises(Ended):
        watch.main([], environ)
    settings = vars(caplog.records[0])["fields"]["settings"]
    assert settings["tracking_uri"] == "postgresql://mlflow.example"
    assert settings["last"] == "7 days, 0:00:00"
    assert "workers" not in settings
    assert "hidden" not in str(settings)
