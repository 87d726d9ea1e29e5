"""The model card: what is known of a version, in words and figures that are its own, and nothing that a name could smuggle in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from contract.version_files import VersionFiles
from inference.model import model
from inference.trust import Trust, Trusted
from sklearn.linear_model import LogisticRegression
from trainer.artifact import model_card
from trainer.artifact.model_card import Circumstances
from trainer.artifact.provenance import Provenance
from trainer.data.holdout import Aside
from trainer.data.table import Table, read, split
from trainer.experiment import Plan
from trainer.fit import contributions, importance, metric
from trainer.fit.baseline import baseline
from trainer.fit.model_selection import Choice, fit, prepared

from tests.unit.serving import client_of, served_as
from tests.unit.tables import customers, people, written
from tests.unit.version_files import Files

IRIS = Path(__file__).parents[2] / "data" / "iris_dataset.csv"
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # as the service does
ORIGIN = Provenance("c" * 40, "d" * 64, None)


def card_of(table: Table, plan: Plan, thresholds: dict[str, float] | None = None, leaks: tuple[str, ...] = ()) -> str:
    choice, rows = Choice.of(plan, table), split(table)
    fitted = fit("logistic_regression", prepared(choice.algorithms[0], table, rows), table, rows, choice.metric)
    lowest = baseline(choice.metric, table, rows)
    figure = choice.metric.of(lowest.estimator, rows.test_features, rows.test_target)
    fitted.evaluation.metrics[f"baseline_{choice.metric.name}"] = figure
    return model_card.text(fitted, table, rows, Circumstances("m", lowest.words, thresholds or {}, list(leaks), ORIGIN))


@pytest.fixture(scope="module")
def iris() -> str:
    return card_of(read(IRIS, "target"), Plan(), {"test_accuracy": 0.9})


def test_the_card_has_the_figures_their_intervals_and_what_they_are_held_against(iris: str) -> None:
    assert "| accuracy | 0.9667 | 0.9000 to 1.0000 |" in iris
    assert "| baseline (always setosa): accuracy | 0.3333 | |" in iris
    assert "Quality gate: test accuracy 0.9000." in iris
    assert "| versicolor | 10 | 100.0% | 90.0% | 94.7% |" in iris


def test_the_card_tells_what_the_model_looks_at(iris: str) -> None:
    (_, section) = iris.split("## What it looks at")
    rows = [line for line in section.splitlines() if " (cm)" in line]
    assert rows[0].startswith("| petal length (cm) | 0.")


def test_the_card_tells_where_it_comes_from_and_where_it_ends(iris: str) -> None:
    assert "iris\\_dataset.csv, 150 rows, SHA-256 `" in iris
    assert "; git_commit cccc" in iris
    assert "| sepal length (cm) | number | 4.3 to 7.9, median " in iris
    assert "30 held-out rows leave wide intervals" in iris
    assert "Numbers outside of the ranges above were not seen" in iris


def test_the_card_of_two_classes_names_the_positive_one_and_the_baseline_as_its_gate(tmp_path: Path) -> None:
    found = card_of(written(tmp_path, people()), Plan(metric="f1"), leaks=("feature 'x' is the target",))
    assert "(2 classes; the positive one is yes)" in found
    assert "It is judged by **F1**." in found
    assert "Quality gate: better than the baseline's 0." in found
    assert "Its figures come from a leak" in found
    assert "| city | text | " in found


def test_names_are_shown_and_are_neither_markup_nor_the_end_of_a_cell(tmp_path: Path) -> None:
    hostile = "a|b\n<script>alert(1)</script> [x](http://h) \x1b[2J"
    frame = pd.DataFrame({hostile: np.arange(60.0) % 7, "y": ["p", "q", "q"] * 20})
    frame.to_parquet(tmp_path / "t.parquet")
    found = card_of(read(tmp_path / "t.parquet", "y"), Plan())
    assert "| number | 0 to 6, median 3 |" in found
    assert "<script>" not in found
    assert "\x1b" not in found
    assert "[x](" not in found
    assert "a\\|b\\\\n&lt;script>" in found


def test_importance_is_left_out_where_it_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    table = read(IRIS, "target")
    rows = split(table)
    estimator = LogisticRegression(max_iter=1000).fit(rows.train_features, rows.train_target)
    judged = metric.chosen(None, None, table)
    assert importance.importances(estimator, rows, judged) is not None
    monkeypatch.setattr(importance, "MOST_SECONDS", 0.0)
    assert importance.importances(estimator, rows, judged) is None


def test_the_service_gives_the_card_of_the_version_that_it_serves(tmp_path: Path) -> None:
    import skops.io

    files = Files(tmp_path).describe()
    rows = pd.DataFrame([[1.0, 2.0], [8.0, 1.0]], columns=["length", "width"])
    skops.io.dump(LogisticRegression().fit(rows, [0, 1]), tmp_path / "model.skops")

    def answer() -> tuple[int, str, str]:
        loaded = model.load(VersionFiles.of(files.folder), Trusted(Trust.SIGNED))
        client = client_of(served_as(loaded))
        found = client.get("/model-card")
        return found.status_code, found.text, client.get("/", headers={"Accept": "text/html"}).text

    status, said, page = answer()
    assert (status, said) == (200, "This version has no model card: `train` writes one.\n")
    assert "Model card</a>" not in page
    (tmp_path / "model_card.md").write_text("# It\n")
    status, said, page = answer()
    assert (status, said) == (200, "# It\n")
    assert "Model card</a>" in page
    assert client_of(None).get("/model-card").status_code == 503


def test_the_card_has_the_span_of_dates_and_no_words_that_people_wrote(tmp_path: Path) -> None:
    found = card_of(written(tmp_path, customers(), "Churn"), Plan())
    assert "| SignupDate | date | 2019-01-" in found
    assert "| Plan | text | " in found
    assert "different texts" in found
    assert "called at minute" not in found


def test_the_card_tells_by_which_column_rows_count(tmp_path: Path) -> None:
    table = written(tmp_path, people())
    weighed = replace(table, aside=Aside(weight=pd.Series(2.0, index=table.target.index, name="households")))
    assert "Each row counts as much as households says, in the fit and in all figures above." in card_of(
        weighed, Plan()
    )


def test_the_card_tells_what_columns_add_to_single_answers() -> None:
    table = read(IRIS, "target")
    choice, rows = Choice.of(Plan(), table), split(table)
    fitted = fit("logistic_regression", prepared(choice.algorithms[0], table, rows), table, rows, choice.metric)
    found = contributions.summary(fitted.estimator, rows, choice.metric, None)
    assert found is not None
    fitted = replace(fitted, evaluation=replace(fitted.evaluation, contributions=found))
    fitted.evaluation.metrics["baseline_accuracy"] = 1 / 3
    card = model_card.text(fitted, table, rows, Circumstances("m", "always setosa", {}, [], ORIGIN))
    assert "adds to the probability of the predicted class, up or down, in the mean of 30 held-out rows" in card
    (_, section) = card.split("| column | mean contribution |")
    assert section.splitlines()[2].startswith("| petal length (cm) | 0.")
