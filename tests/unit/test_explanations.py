"""What each column adds to a prediction: Shapley values held against what is known of them, and POST /explain."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contract.explanation import shapley
from contract.explanation.shapley import Ask, Contributions, contributions
from contract.schema import Column, Kind
from inference.model.deployment import Deployment
from inference.model.pacing import TakesLong
from inference.rows import from_cells
from sklearn.linear_model import LogisticRegression

from tests.unit.serving import answering, client_of, described, served_as, service_of

DRAWS = np.random.default_rng(3)
Function = Callable[[np.ndarray], np.ndarray]


def asking(function: Function, row: np.ndarray, background: np.ndarray) -> Ask:
    return lambda own, positions: function(np.where(own, row, background[positions]))


def explained(function: Function, columns: int, most: int = shapley.MOST_ASKED) -> tuple[Contributions, Any, Any]:
    background, row = DRAWS.normal(size=(40, columns)), DRAWS.normal(size=columns)
    return contributions(asking(function, row, background), columns, len(background), most), row, background


@pytest.mark.parametrize(
    ("columns", "method"), [(1, "exact"), (3, "exact"), (8, "exact"), (9, "permutation"), (60, "permutation")]
)
def test_of_a_linear_model_they_are_coefficient_times_distance_from_the_mean(columns: int, method: str) -> None:
    weights = DRAWS.normal(size=columns)
    found, row, background = explained(lambda rows: rows @ weights + 5, columns)
    assert found.method == method
    assert found.background == len(background)
    assert found.of == pytest.approx(weights * (row - background.mean(axis=0)))
    assert found.expected == pytest.approx(background.mean(axis=0) @ weights + 5)
    assert found.value == pytest.approx(row @ weights + 5)


def tangled(rows: np.ndarray) -> np.ndarray:
    """Nothing comes of the last column, and as much of the first as of the second; all others go together somehow."""
    return np.tanh(rows[:, 0] * rows[:, 1]) + np.prod(np.cos(rows[:, 2:-1]), axis=1) + rows[:, 0] + rows[:, 1]


@pytest.mark.parametrize("columns", [5, 12])
def test_they_add_up_and_a_column_that_changes_nothing_has_none(columns: int) -> None:
    found, row, background = explained(tangled, columns)
    assert found.of.sum() == pytest.approx(tangled(row[None])[0] - tangled(background).mean())
    assert found.of[-1] == 0


def test_columns_that_count_alike_and_have_the_same_values_get_the_same() -> None:
    background, row = DRAWS.normal(size=(30, 5)), DRAWS.normal(size=5)
    background[:, 1], row[1] = background[:, 0], row[0]
    found = contributions(asking(tangled, row, background), 5, 30)
    assert found.of[0] == pytest.approx(found.of[1])


def test_sampled_ones_are_near_the_exact_ones_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    background, row = DRAWS.normal(size=(30, 8)), DRAWS.normal(size=8)
    exact, again = (contributions(asking(tangled, row, background), 8, 30) for _ in range(2))
    assert (exact.of == again.of).all()
    monkeypatch.setattr(shapley, "EXACT_COLUMNS", 0)
    sampled, again = (contributions(asking(tangled, row, background), 8, 30) for _ in range(2))
    assert (sampled.method, exact.method) == ("permutation", "exact")
    assert (sampled.of == again.of).all()
    assert np.abs(sampled.of - exact.of).max() < 0.05 * np.abs(exact.of).max()


@pytest.mark.parametrize(("columns", "most"), [(3, 20_000), (8, 500), (8, 100), (30, 5000), (30, 10), (200, 20_000)])
def test_a_model_is_asked_no_more_rows_than_it_may_be(columns: int, most: int) -> None:
    asked = []

    def counting(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return rows.sum(axis=1)

    found, row, background = explained(counting, columns, most)
    assert sum(asked) <= max(most, 2 * columns + 2)
    assert max(asked) <= shapley.PIECE
    # Where only some of the background is asked, it is what they are explained beside.
    assert found.of == pytest.approx(row - background[: found.background].mean(axis=0))


# --- POST /explain ---------------------------------------------------------------------------------------------------

FEATURES = DRAWS.normal(size=(60, 2))
CLASSES = (FEATURES[:, 0] - 2 * FEATURES[:, 1] > 0).astype(int)
COLUMNS = [Column("length"), Column("width")]


class Texts:
    """A value that comes of a text and a number that may be missing."""

    def predict(self, frame: Any) -> Any:
        return np.where(frame["city"] == "Bern", 10.0, 0.0) + frame["rooms"].fillna(7).to_numpy()


class Sure:
    """Has classes, and no probabilities."""

    def predict(self, frame: Any) -> Any:
        return np.zeros(len(frame), dtype=int)


def served(estimator: Any = None, columns: Any = COLUMNS, background: Any = None, **said: Any) -> Deployment:
    model = answering(
        estimator or LogisticRegression().fit(FEATURES, CLASSES),
        described(columns, **said),
        takes_arrays=estimator is None,
    )
    rows = from_cells(FEATURES.tolist() if background is None else background, columns, lambda i, j: "")
    return served_as(replace(model, background=rows))


def test_an_explanation_adds_up_to_the_probability_of_the_predicted_class() -> None:
    deployment = served(class_names=["short", "long"])
    client, body = client_of(deployment), {"instances": [{"length": 1.5, "width": -0.5}]}
    answer = client.post("/explain", json=body).json
    named = client.post("/predict_names", json=body).json
    assert answer["prediction"] == client.post("/invocations", json=body).json["predictions"][0] == 1
    assert answer["of"] == named["predictions"][0] == "long"
    assert answer["value"] == pytest.approx(named["probabilities"][0]["long"])
    assert sum(answer["contributions"].values()) == pytest.approx(answer["value"] - answer["expected_value"])
    assert list(answer["contributions"]) == ["length", "width"]
    assert min(answer["contributions"].values()) > 0
    assert (answer["method"], answer["background_rows"]) == ("exact", 60)
    # Of the other class it is the other way round.
    other = client.post("/explain", data="length,width\n-1.5,0.5\n", content_type="text/csv").json
    assert (other["prediction"], other["of"]) == (0, "short")
    assert min(other["contributions"].values()) > 0


def test_texts_and_missing_values_of_a_regression_are_explained_as_columns() -> None:
    columns = [Column("city", Kind.TEXT), Column("rooms", missing=True)]
    deployment = served(
        Texts(), columns, [["Basel", 1.0], ["Basel", None], ["Bern", 4.0], ["Chur", 4.0]], output="double"
    )
    answer = client_of(deployment).post("/explain", json={"instances": [["Bern", None]]}).json
    assert answer["prediction"] == answer["value"] == 17
    assert answer["of"] is None
    assert answer["expected_value"] == pytest.approx(2.5 + 4)
    assert answer["contributions"] == pytest.approx({"city": 7.5, "rooms": 3})


@pytest.mark.parametrize(
    ("deployment", "body", "status", "said"),
    [
        (served(), {"instances": [[1, 2], [3, 4]]}, 400, "the body has 2 rows; /explain takes 1 at a time"),
        (served(), {"instances": [[1, "2"]]}, 400, "instances[0][1]"),
        (served(), {"instances": []}, 400, "'instances' is empty"),
        (served(Sure()), {"instances": [[1, 2]]}, 400, "there is nothing to explain"),
        (
            replace(served(), model=replace(served().model, background=None)),
            {"instances": [[1, 2]]},
            404,
            "version 7 has no background.json, the rows that explanations compare with",
        ),
    ],
)
def test_what_cannot_be_explained_is_refused_with_the_reason(
    deployment: Deployment, body: Any, status: int, said: str
) -> None:
    answer = client_of(deployment).post("/explain", json=body)
    assert answer.status_code == status
    assert said in answer.json["message"]


def test_the_event_loop_is_not_held_by_an_explanation() -> None:
    service = service_of(served())
    body = b'{"instances": [[1, 2]]}'
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/explain",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "localhost",
    }
    context = service.begin(environ)
    context.waited, context.body = 0.0, body
    with pytest.raises(TakesLong):
        service.answer(context)
    answer = asyncio.run(service.answer_aside(context, is_large=False))
    assert (answer.status, answer.rows) == (200, 1)


def test_a_slow_model_is_asked_less_for_an_explanation() -> None:
    deployment = served()
    slow = replace(deployment, model=replace(deployment.model, row_seconds=(0.0, 0.1)))
    answer = client_of(slow).post("/explain", json={"instances": [[1, 2]]}).json
    assert answer["background_rows"] < 60
    assert sum(answer["contributions"].values()) == pytest.approx(answer["value"] - answer["expected_value"])
