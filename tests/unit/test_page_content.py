"""What the page says of a model, and what of it the version's signature covers."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from contract.schema import Column, Kind
from inference.ipc.messages import State
from inference.model.deployment import Deployment
from inference.model.version import ModelVersion
from inference.settings import Settings
from inference.trust import Trust
from inference.web import flask_app as looking
from werkzeug.test import Client

from tests.unit.serving import (
    VERSION,
    WsgiService,
    active_of,
    answering,
    described,
    served_as,
    service_among,
    service_of,
)

FIGURES = {
    "metrics": {"test_accuracy": 0.9667, "test_accuracy_ci_low": 0.9, "test_accuracy_ci_high": 0.99},
    "algorithm": "logistic_regression",
    "run_id": "the-signed-run",
    "data": {"file": "iris.csv", "sha256": "ab" * 32, "rows": 150},
}
CLAIMS = {"test_accuracy": 1.0}
CLAIMING = replace(VERSION, run_id="any-run", description="The best ever.", tags={"stage": "Production"})
NOT_SIGNED = "From the registry, not signed"


def served(figures: dict[str, Any] | None = None, **changes: Any) -> Deployment:
    description = replace(described([Column("length")], **changes), figures=figures)
    return served_as(answering(SimpleNamespace(), description), CLAIMING, **CLAIMS)


def page_of(service: WsgiService) -> str:
    answer = Client(service).get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    return answer.text


def page(found: Deployment | None, trust: Trust = Trust.SIGNED) -> str:
    return page_of(service_of(found, settings=Settings(trust=trust)))


def section(text: str, name: str) -> str:
    """Return what the page has from one of its headings to the end of its card."""
    return text.split(f'id="{name}-title"')[-1].split("</section>")[0]


def test_the_figures_of_a_signed_version_are_shown_as_signed_and_those_of_the_run_are_not_shown() -> None:
    measured = section(page(served(FIGURES)), "metrics")
    assert "Signed with the version" in measured
    assert NOT_SIGNED not in measured
    assert "0.9667" in measured
    assert "1.0000" not in measured
    for words in ("logistic_regression", "iris.csv", "150", "ab" * 32):
        assert words in measured


def test_the_run_of_a_signed_version_is_the_one_that_was_signed() -> None:
    text = page(served(FIGURES))
    assert "the-signed-run" in text
    assert "any-run" not in text


@pytest.mark.parametrize(("figures", "trust"), [(None, Trust.SIGNED), (FIGURES, Trust.SKOPS), (FIGURES, Trust.PICKLE)])
def test_figures_that_nobody_signed_are_the_registrys_and_marked_so(
    figures: dict[str, dict[str, float] | dict[str, int | str] | str] | None, trust: Trust
) -> None:
    text = page(served(figures), trust)
    assert NOT_SIGNED in section(text, "metrics")
    assert "1.0000" in section(text, "metrics")
    assert "0.9667" not in text
    assert "as the registry says, not signed" in text


@pytest.mark.parametrize("figures", [None, FIGURES])
def test_tags_and_description_are_marked_as_what_they_are_anybodys_words(
    figures: dict[str, dict[str, float] | dict[str, int | str] | str] | None,
) -> None:
    promotion = section(page(served(figures)), "promotion")
    assert NOT_SIGNED in promotion
    assert "The best ever." in promotion


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_no_number_is_left_out(value: float) -> None:
    text = page(served({"metrics": {"test_accuracy": value, "test_log_loss": 0.25}}))
    assert "0.2500" in text
    assert "test accuracy" not in text


def data_of(text: str) -> dict[str, Any]:
    """Return the page's data block as a browser reads it, which knows neither NaN nor Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    (block,) = re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.S)
    found: dict[str, Any] = json.loads(block, parse_constant=refuse)
    return found


@pytest.mark.parametrize("cell", [float("nan"), float("inf"), float("-inf"), [float("inf")], {"a": float("nan")}])
def test_an_example_with_what_is_no_json_leaves_the_form_alive(cell: dict[str, float] | float | list[float]) -> None:
    (example,) = data_of(page(served(examples=[[cell]])))["examples"]
    assert example["row"] == [None]


def test_an_example_that_is_too_long_for_a_form_is_none() -> None:
    description = described([Column("text", Kind.TEXT)], examples=[["x" * 1_000_000], ["short"]])
    found = data_of(page(served_as(answering(SimpleNamespace(), description))))
    assert [example["row"] for example in found["examples"]] == [["short"]]


@pytest.mark.parametrize(
    ("examples", "targets", "shown"),
    [
        ([[1.0], [2.0]], ["Yes", 2.5], ["Yes", 2.5]),
        ([[1.0]], [], [None]),  # of a version that does not say
        ([[1.0]], ["Yes", "No"], [None]),  # one row of the example did not fit, and nobody knows which
        ([[1.0]], [float("nan")], [None]),
    ],
)
def test_an_example_has_what_the_data_say_of_it(
    examples: list[list[float]], targets: list[str | float], shown: list[str | float | None]
) -> None:
    description = replace(described([Column("length")], examples=examples), example_targets=targets)
    found = data_of(page(served_as(answering(SimpleNamespace(), description))))
    assert [example["target"] for example in found["examples"]] == shown


def test_the_values_that_a_column_had_are_there_to_choose_from() -> None:
    description = replace(described([Column("plan", Kind.TEXT), Column("n")]), categories={"plan": ["<a>", "b"]})
    text = page(served_as(answering(SimpleNamespace(), description)))
    assert [column["categories"] for column in data_of(text)["columns"]] == [["<a>", "b"], []]
    assert re.findall(r'<option value="([^"]*)"', text) == ["&lt;a&gt;", "b", ""]


def test_a_page_is_made_anew_when_there_is_something_new_to_say_and_not_at_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    render = looking.render_template  # type: ignore[attr-defined]
    monkeypatch.setattr(
        looking, "render_template", lambda *names, **values: made.append("") or render(*names, **values)
    )
    active = active_of(served())
    client = Client(service_among([active]))

    def text() -> str:
        return str(client.get("/", headers={"Accept": "text/html"}).text)

    first = text()
    assert (text(), len(made)) == (first, 1)
    active.state = State("MLflow is gone", active.state.version)
    assert ("MLflow is gone" in text(), len(made)) == (True, 2)
    active.served = replace(served(), version=ModelVersion("iris", "8", "", 1, "", ""))
    assert ("Version 8" in text(), len(made)) == (True, 3)
    active.served = None
    assert ("No model is served yet" in text(), len(made)) == (True, 4)


@pytest.mark.parametrize(
    ("problem", "said"), [("MLflow is gone", "MLflow is gone"), (None, "the model is being loaded")]
)
def test_wherever_there_is_no_model_the_reason_stands_beside_it(problem: str | None, said: str) -> None:
    client = Client(service_of(None, problem))
    version = client.get("/version").json
    assert (version["model"], version["reasons"]) == (None, [said])
    assert client.get("/ready").json["reasons"] == [said]
    assert said in client.post("/invocations", json={"instances": [[1]]}).json["message"]
    assert said in client.get("/", headers={"Accept": "text/html"}).text


@pytest.mark.parametrize(
    ("names", "shown"), [(["setosa", "versicolor", "virginica"], ["setosa", "versicolor", "virginica"]), (None, [2.5])]
)
def test_the_kinds_of_iris_are_said_of_a_model_that_tells_them_alone(
    names: list[str] | None, shown: list[str | float]
) -> None:
    columns = [Column(f"{part} {what} (cm)") for part in ("sepal", "petal") for what in ("length", "width")]
    description = described(columns, examples=[[1.0, 2.0, 3.0, 4.0]], class_names=names)
    estimator = SimpleNamespace(classes_=np.array([0, 1, 2]), predict_proba=None)
    found = data_of(page(served_as(answering(estimator, replace(description, example_targets=[2.5])))))
    assert [example["target"] for example in found["examples"]] == shown
