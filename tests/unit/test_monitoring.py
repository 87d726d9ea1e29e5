"""What is drift and what is chance, how good answers are, and the settings of who looks."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from contract.reference import bins
from monitoring import watch
from monitoring.errors import WrongOption
from monitoring.settings import Settings, time_of
from monitoring.statistics import drift, metrics, quality
from monitoring.statistics.metrics import Answers
from scipy import stats
from sklearn import metrics as measures

from tests.unit.monitored import numbers

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


# --- settings -------------------------------------------------------------------------------------------------------


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
    environ = {"MLFLOW_TRACKING_URI": "postgresql://anna:hidden@mlflow.example", "MONITOR_LAST": "7d"}
    environ["PREDICTION_LOG_STORE"] = str(tmp_path)
    with caplog.at_level("INFO", "inference"), pytest.raises(Ended):
        watch.main([], environ)
    settings = vars(caplog.records[0])["fields"]["settings"]
    assert settings["tracking_uri"] == "postgresql://mlflow.example"
    assert settings["last"] == "7 days, 0:00:00"
    assert settings["store"] == str(tmp_path)
    assert "workers" not in settings
    assert "hidden" not in str(settings)
