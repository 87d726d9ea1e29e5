"""Headless Chromium opens the page of the prediction service, with made-up models behind it, and uses it as a person does."""

import copy
import functools
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from flask import Flask, Response, g, jsonify, render_template, request, send_from_directory
from playwright.sync_api import Browser, Dialog, Page, expect
from werkzeug.serving import make_server

FOLDER = Path(__file__).parents[2] / "services" / "inference" / "web" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
IRIS_NAMES = ["setosa", "versicolor", "virginica"]
SAMPLES = [[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [6.3, 3.3, 6.0, 2.5]]
LARGEST = 3.4028234663852886e38
NAUGHTY = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>"


# --- made-up models ---------------------------------------------------------------------------------------------------


def _model(name: str, task: str, metrics: dict[str, float]) -> dict[str, Any]:
    sha256 = "3f1c9a7be2d85046c1a7fe0b9d24835e6fa1077cd2be9485a0c3e61f7d928b54"
    return {
        "name": name,
        "version": "3",
        "alias": "Production",
        "since": "2026-03-02T09:41:07+00:00",
        "run_id": "8c2f0d9b6e5a4c1f9d3e7a2b1c0f4e6d",
        "stale": False,
        "problem": None,
        "engine": {"name": "onnx", "reason": "proven to answer as the pipeline does, on 4,012 rows"},
        "task": task,
        "metrics": metrics,
        "description": "Promoted: higher test accuracy 0.9667 against 0.9333 of version 2 in Production on 30 rows that "
        "neither was fitted on.\n\nData: iris_dataset.csv, 150 rows, SHA-256 3f1c9a7be2d8; attempt 3 on it; rule: "
        "better; commit 5e04c393a1b2. The whole record: promotion.json on the source run.",
        "tags": {
            "stage": "Production",
            "algorithm": "logistic_regression",
            "rule": "better",
            "attempts_on_this_data": "3",
            "data_sha256": sha256,
            "git_commit": "5e04c393a1b2c3d4e5f60718293a4b5c6d7e8f90",
            "image": "mlflow-stack/trainer",
        },
        "mlflow_url": f"http://localhost:5000/#/models/{name}/versions/3",
    }


ENDPOINTS = {
    "GET /": "this page",
    "GET /health, GET /ping": "the process is alive",
    "GET /ready": "200 when predictions work, else 503 with reasons",
    "GET /version": "which model is served, since when, and by what",
    "POST /invocations": '{"instances": [[values], …] or [{column: value}, …]} → {"predictions": […]}',
    "POST /predict_names": "the same input → class names and the probability of each class",
    "GET /v2 …, POST /v2/models/NAME/infer": "the Open Inference Protocol",
}


def _context(model: dict[str, Any] | None, columns: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    defaults: dict[Any, Any] = {
        "examples": [],
        "class_names": None,
        "has_probabilities": False,
        "endpoints": ENDPOINTS,
        "asks_for_key": False,
        "challenger": None,
        "challenger_words": "",
        "reasons": [],
    }
    return {"model": model, "columns": columns, **defaults, **more}


def _column(name: str, kind: str = "number", missing: bool = False, categories: Sequence[str] = ()) -> dict[str, Any]:
    return {"name": name, "kind": kind, "missing": missing, "categories": list(categories)}


def _classified(accuracy: float, names: list[str]) -> dict[str, float]:
    figures = {f"test_{word}_of_{name}": 0.9 for word in ("precision", "recall", "f1") for name in names}
    return {
        "overfitting_gap": 0.0083,
        "test_accuracy": accuracy,
        "test_accuracy_ci_high": 1.0,
        "test_accuracy_ci_low": 0.9,
        "test_balanced_accuracy": accuracy,
        "test_f1_macro": 0.9666,
        "test_f1_macro_ci_high": 1.0,
        "test_f1_macro_ci_low": 0.8965,
        "test_log_loss": 0.1427,
        "test_precision_macro": 0.9697,
        "test_recall_macro": 0.9667,
        "test_roc_auc": 0.9983,
        "train_accuracy": 0.975,
        **figures,
    }


IRIS = _context(
    _model("iris_logistic_regression", "classification", _classified(29 / 30, IRIS_NAMES)),
    [_column(f"{part} {size} (cm)") for part in ("sepal", "petal") for size in ("length", "width")],
    examples=[{"label": name, "row": row} for name, row in zip(IRIS_NAMES, SAMPLES, strict=True)],
    class_names=IRIS_NAMES,
    has_probabilities=True,
)

# 500 columns of every kind and 30 classes.
KINDS = ("number", "number", "boolean", "text")
WIDE_NAMES = [f"fault code {100 + i}" for i in range(30)]
WIDE_COLUMNS = [_column(f"sensor_{i:03}_reading", KINDS[i % 4], i % 3 == 0) for i in range(500)]
WIDE = _context(
    _model("machine_faults_random_forest", "classification", _classified(0.8127, WIDE_NAMES)),
    WIDE_COLUMNS,
    examples=[
        {
            "label": "first row",
            "row": [{"number": 20.5, "boolean": True, "text": "ok"}[c["kind"]] for c in WIDE_COLUMNS],
        }
    ],
    class_names=WIDE_NAMES,
    has_probabilities=True,
)

HOUSES = _context(
    _model(
        "houses_gradient_boosting",
        "regression",
        {
            "test_r2": 0.8714,
            "train_r2": 0.9,
            "test_rmse": 24310.2,
            "test_rmse_ci_low": 21700,
            "test_rmse_ci_high": 26900,
            "test_mae": 15200.4,
        },
    ),
    [
        _column("living area (m²)"),
        _column("year built", missing=True),
        _column("garden", "boolean"),
        _column("balcony", "boolean", missing=True),
        _column("district", "text"),
        _column("remark", "text", missing=True),
    ],
    examples=[{"label": "row 1", "row": [96.5, 1974, True, None, "d'Artagnan", None]}],
)

HOSTILE = _context(
    {**_model(f"model {NAUGHTY}", "classification", {}), "description": NAUGHTY, "tags": {NAUGHTY: NAUGHTY}},
    [_column(NAUGHTY), _column(f"text {NAUGHTY}", "text")],
    examples=[{"label": NAUGHTY, "row": [1.0, NAUGHTY]}],
    class_names=[NAUGHTY, "w" * 200],
    has_probabilities=True,
)

PLANS = _context(
    _model("churn", "classification", {}),
    [
        _column("plan", "text", categories=["Basic", "Premium", NAUGHTY]),
        _column("region", "text", missing=True, categories=["north", "south"]),
    ],
    examples=[{"label": "usual", "row": ["Basic", "north"]}, {"label": "rare", "row": ["Platinum", None]}],
    class_names=["No", "Yes"],
    has_probabilities=True,
)

STALE = copy.deepcopy(IRIS)
STALE["model"] |= {
    "stale": True,
    "problem": "version 4 is refused: it is not signed; `docker compose run trainer adopt 4` checks and signs a version",
    "engine": {"name": "scikit-learn", "reason": "there is no proven ONNX engine: a category is answered otherwise"},
}

EMPTY = _context(
    None,
    [],
    reasons=["MLflow at http://mlflow:5000 has no version with the alias Production of iris_logistic_regression"],
)

PAGES = {
    "iris": IRIS,
    "wide": WIDE,
    "houses": HOUSES,
    "plans": PLANS,
    "hostile": HOSTILE,
    "stale": STALE,
    "empty": EMPTY,
}


# --- a service to talk to ---------------------------------------------------------------------------------------------


@dataclass
class FakeService:
    """Gives out the page, and answers with the likeliest class last to first, or the first value times three."""

    page: dict[str, Any]
    version: str = "3"
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    held: list[tuple[list[Any], Event]] = field(default_factory=list)

    def hold(self, row: list[Any]) -> Event:
        """Answer for this row only once the event is set."""
        self.held.append((row, Event()))
        return self.held[-1][1]

    def app(self) -> Flask:
        app = Flask(__name__, template_folder=str(FOLDER), static_folder=None)
        app.json.sort_keys = False  # type: ignore[attr-defined]
        routes: dict[str, Callable[..., Any]] = {
            "/": lambda: render_template("index.html", page=self.page),
            "/page/<name>": lambda name: send_from_directory(FOLDER, name),
            "/favicon.ico": lambda: ("", 204),
            "/version": lambda: {"model": self.page["model"]},
            "/invocations": lambda: self._answer(lambda row: {"predictions": [row[0] * 3 + 0.123456789]}),
            "/predict_names": lambda: self._answer(self._named),
        }
        for path, view in routes.items():
            app.add_url_rule(path, path.replace("/", "_"), view, methods=["GET", "POST"])
        app.after_request(self._with_headers)
        return app

    def _answer(self, of_row: Callable[[list[Any]], dict[str, Any]]) -> Response:
        body = request.get_json()
        self.calls.append((request.path, body))
        g.predicted = True
        for row, released in self.held:
            if row == body["instances"][0]:
                released.wait(20)
        for i, value in enumerate(body["instances"][0]):
            if isinstance(value, float) and abs(value) > LARGEST:
                where = f"instances[0][{i}]"
                content = {
                    "error_code": "INVALID_PARAMETER_VALUE",
                    "message": f"{where} is not a finite number within ±3.4e38",
                    "where": where,
                }
                answer = jsonify(content)
                answer.status_code = 400
                return answer
        return jsonify(of_row(body["instances"][0]))

    def _named(self, row: list[Any]) -> dict[str, Any]:
        names = self.page["class_names"]
        last = SAMPLES.index(row) if row in SAMPLES else 0
        weights = {name: 0.1 ** abs(i - last) for i, name in enumerate(names)}
        total = sum(weights.values())
        shares = {name: weight / total for name, weight in weights.items()}
        return {"predictions": [max(shares, key=shares.__getitem__)], "probabilities": [shares]}

    def _with_headers(self, answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = POLICY
        if g.get("predicted"):
            answer.headers["X-Model-Name"] = self.page["model"]["name"]
            answer.headers["X-Model-Version"] = self.version
            answer.headers["X-Request-ID"] = "0f8fad5b-d9cb-469f-a165-70867728950e"
        return answer


@contextmanager
def serving(service: FakeService) -> Iterator[str]:
    """Run the service; its page learns the address that it is given."""
    server = make_server("127.0.0.1", 0, service.app(), threaded=True)
    service.page["url"] = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield service.page["url"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Visit:
    """An open page, what it asked of the service, and what a person would find in the browser's console."""

    page: Page
    service: FakeService
    requests: list[str]
    complaints: list[str]

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        return self.service.calls

    def noted(self) -> dict[str, Callable[[Any], None]]:
        """Return what notes the events of the page."""

        def dismiss(dialog: Dialog) -> None:
            self.complaints.append(f"dialog {dialog.message}")
            dialog.dismiss()

        return {
            "request": lambda request: self.requests.append(request.url),
            "console": lambda line: self.complaints.append(line.text) if line.type == "error" else None,
            "pageerror": lambda error: self.complaints.append(str(error)),
            "dialog": dismiss,
        }

    def predict(self) -> None:
        self.press("Predict")

    def press(self, button: str) -> None:
        """Press what asks the service, and wait for its answer: what is on the page may be of the question before."""
        with self.page.expect_response("**/invocations" if self.is_quantity else "**/predict_names"):
            self.page.get_by_role("button", name=button).click()
        self.answered()

    @property
    def is_quantity(self) -> bool:
        return not self.service.page["has_probabilities"]

    def answered(self) -> None:
        """Wait until there is an answer, and no question is under way."""
        expect(self.page.locator("#result")).to_be_visible()
        expect(self.page.locator("#answer")).not_to_have_attribute("aria-busy", "true")


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a page with such options, opened once for all tests: to open one takes a browser three times as long as a visit."""
    with ExitStack() as stack:

        @functools.cache
        def opened(width: int, prepare: str, has_clock: bool, **options: Any) -> Page:
            context = browser.new_context(viewport={"width": width, "height": 900}, **options)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(20_000)
            if has_clock:
                page.clock.install()
                page.clock.resume()
            if prepare:
                page.add_init_script(prepare)
            return page

        yield opened


@pytest.fixture
def visit(tab: Callable[..., Page]) -> Iterator[Callable[..., Visit]]:
    """Open the page of a context at a width, with whatever else Playwright can be told about a browser; it is left afterwards."""
    with ExitStack() as stack:

        def open_page(
            context: dict[str, Any], width: int = 1280, prepare: str = "", has_clock: bool = False, **options: Any
        ) -> Visit:
            service = FakeService(copy.deepcopy(context))
            url = stack.enter_context(serving(service))
            page = tab(width, prepare, has_clock, **options)
            stack.callback(leave, page)
            visit = Visit(page, service, [], [])
            for event, note in visit.noted().items():
                page.on(event, note)  # type: ignore[call-overload]
                stack.callback(page.remove_listener, event, note)
            page.goto(url)
            if context["examples"]:  # the first of them is answered as the page opens
                visit.answered()
                visit.service.calls.clear()
            return visit

        yield open_page


def leave(page: Page) -> None:
    """Leave nothing of a visit for the next one: neither what was put in its way, nor where the mouse was."""
    page.unroute_all()
    page.goto("about:blank")
    page.mouse.move(0, 0)


# --- asking -----------------------------------------------------------------------------------------------------------


def test_an_example_fills_the_form_and_predicts(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    iris.press("virginica")
    expect(iris.page.locator("#prediction")).to_have_text("virginica")
    assert [iris.page.get_by_label(column["name"]).input_value() for column in IRIS["columns"]] == [
        "6.3",
        "3.3",
        "6",
        "2.5",
    ]
    assert iris.calls == [("/predict_names", {"instances": [SAMPLES[2]]})]


def test_form_and_answer_stand_side_by_side_on_a_wide_screen(visit: Callable[..., Visit]) -> None:
    tops = [card.bounding_box() for card in visit(IRIS).page.locator(".asking > .card").all()]
    assert len({box and box["y"] for box in tops}) == 1
    assert len({box and box["x"] for box in tops}) == 2


def test_the_probabilities_are_in_words_and_in_bars_as_long_as_they_are(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    iris.page.get_by_role("button", name="setosa").click()
    expect(iris.page.locator("#bars .share")).to_have_text(["90.1%", "9.0%", "0.9%"])
    widths = "bars => bars.map(bar => bar.style.inlineSize)"
    assert [round(float(width[:-1]), 1) for width in iris.page.locator(".level").evaluate_all(widths)] == [
        90.1,
        9.0,
        0.9,
    ]
    iris.page.wait_for_function("""() => {
        const [level, track] = [".level", ".track"].map(name => document.querySelector(name).getBoundingClientRect().width)
        return Math.abs(level / track - 0.901) < 0.01
    }""")


def test_the_answer_says_which_version_gave_it_in_what_time_and_to_which_request(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    iris.predict()
    by = iris.page.locator("#by")
    expect(by).to_contain_text("Version 3 of iris_logistic_regression answered in")
    expect(by).to_contain_text("ms")
    expect(by).to_contain_text("0f8fad5b-d9cb-469f-a165-70867728950e")


def test_the_answer_is_announced_in_one_sentence(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    iris.predict()
    expect(iris.page.get_by_role("status").filter(has_text="setosa. 90.1% probable. Version 3")).to_have_count(1)


def test_another_version_that_answers_is_told(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    iris.predict()
    expect(iris.page.locator("#moved")).to_be_hidden()
    iris.service.version = "4"
    iris.page.get_by_role("button", name="Predict").click()
    expect(iris.page.locator("#moved")).to_contain_text("Version 4 is served now.")


def test_the_first_example_is_answered_as_the_page_opens_which_moves_nothing(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS, width=375)
    expect(iris.page.locator("#prediction")).to_have_text("setosa")
    assert iris.page.evaluate("() => [scrollY, document.activeElement.tagName]") == [0, "BODY"]
    assert [url for url in iris.requests if url.endswith("/predict_names")] == [
        f"{iris.service.page['url']}/predict_names"
    ]


@pytest.mark.parametrize(
    ("area", "words"),
    [("96.5", "289.623"), ("77065.6", "231,197"), ("0.05", "0.273457"), ("1e20", "3.000e+20")],
)
def test_a_quantity_is_shown_as_people_write_it(visit: Callable[..., Visit], area: str, words: str) -> None:
    houses = visit(HOUSES)
    houses.page.get_by_label("living area (m²)").fill(area)
    houses.predict()
    expect(houses.page.locator("#prediction")).to_contain_text(words)
    expect(houses.page.locator("#confidence")).to_have_text("usually off by 15,200 (mean absolute error)")
    expect(houses.page.locator("#probabilities")).to_be_hidden()


@pytest.mark.parametrize(("error", "words"), [(0.03, "1,013.253"), (0.5, "1,013.25"), (42.0, "1,013")])
def test_a_large_quantity_has_the_decimals_that_its_error_leaves_and_is_exact_in_its_title(
    visit: Callable[..., Visit], error: float, words: str
) -> None:
    context = copy.deepcopy(HOUSES)
    context["model"]["metrics"]["test_mae"] = error
    houses = visit(context)
    houses.page.get_by_label("living area (m²)").fill("337.71")
    houses.predict()
    expect(houses.page.locator("#prediction")).to_have_text(words)
    expect(houses.page.locator("#prediction")).to_have_attribute("title", str(337.71 * 3 + 0.123456789))


def test_a_category_is_chosen_and_one_that_is_not_listed_can_be_typed_and_is_remarked_on(
    visit: Callable[..., Visit],
) -> None:
    plans = visit(PLANS)
    plan, typed = plans.page.get_by_label("plan", exact=True), plans.page.get_by_label("another value of plan")
    unknown = plans.page.get_by_text("Not among the values of the training data.")
    assert plan.locator("option").all_inner_texts() == ["Basic", "Premium", NAUGHTY, "another value …"]
    expect(typed).to_be_hidden()
    plan.select_option("Premium")
    plans.predict()
    plan.select_option("another value …")
    expect(typed).to_be_focused()
    typed.fill("Gold")
    expect(unknown).to_be_visible()
    expect(typed).to_have_accessible_description("Not among the values of the training data.")
    plans.predict()
    typed.fill("Basic")
    expect(unknown).to_have_count(0)
    plans.page.get_by_label("region", exact=True).select_option("not known")
    plans.predict()
    assert [call["instances"] for _, call in plans.calls] == [
        [["Premium", "north"]],
        [["Gold", "north"]],
        [["Basic", None]],
    ]


def test_an_example_with_a_category_that_is_not_listed_is_filled_in_as_it_is(visit: Callable[..., Visit]) -> None:
    plans = visit(PLANS)
    plans.press("rare")
    expect(plans.page.get_by_label("another value of plan")).to_have_value("Platinum")
    expect(plans.page.get_by_role("button", name="rare")).to_have_attribute("aria-pressed", "true")
    plans.press("usual")
    expect(plans.page.get_by_label("another value of plan")).to_be_hidden()
    expect(plans.page.get_by_label("plan", exact=True)).to_have_value("Basic")
    assert [call["instances"] for _, call in plans.calls] == [[["Platinum", None]], [["Basic", "north"]]]


def test_a_class_without_probabilities_is_shown_by_its_name(visit: Callable[..., Visit]) -> None:
    context = {**IRIS, "has_probabilities": False}
    iris = visit(context)
    iris.page.route("**/invocations", lambda route: route.fulfill(json={"predictions": [1]}))
    iris.predict()
    expect(iris.page.locator("#prediction")).to_have_text("versicolor")
    expect(iris.page.locator("#confidence")).to_have_text("class 1")


def test_what_the_data_say_of_an_example_stands_beside_its_answer_alone(visit: Callable[..., Visit]) -> None:
    iris = visit({**IRIS, "examples": [{**example, "target": example["label"]} for example in IRIS["examples"]]})
    iris.page.get_by_role("button", name="virginica").click()
    expect(iris.page.locator("#target")).to_have_text("The data say: virginica")
    iris.page.get_by_label("petal width (cm)").fill("2.4")
    iris.predict()
    expect(iris.page.locator("#target")).to_be_hidden()
    (example,) = HOUSES["examples"]
    houses = visit({**HOUSES, "examples": [{**example, "target": 290412.25}]})
    houses.predict()
    expect(houses.page.locator("#target")).to_have_text("The data say: 290,412")


def test_text_booleans_and_missing_values_are_sent_as_what_they_are(visit: Callable[..., Visit]) -> None:
    houses = visit(HOUSES)
    houses.predict()
    houses.page.get_by_label("year built").fill("")
    houses.page.get_by_label("garden").select_option("false")
    houses.page.get_by_label("balcony").select_option("true")
    houses.page.get_by_label("district").fill("")
    houses.page.get_by_label("remark").fill("null")
    houses.predict()
    with houses.page.expect_response("**/invocations"):
        houses.page.get_by_label("remark").press("Enter")
    houses.page.wait_for_function("() => document.querySelector('#answer').getAttribute('aria-busy') === null")
    first, second = [body["instances"][0] for _, body in houses.calls[:2]]
    assert first == [96.5, 1974, True, None, "d'Artagnan", None]
    assert second == [96.5, None, False, True, "", "null"]


def test_the_keyboard_alone_reaches_a_prediction_and_sees_where_it_is(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    focused = "() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]"
    for _ in range(20):
        iris.page.keyboard.press("Tab")
        name, outline = iris.page.evaluate(focused)
        assert outline == "solid"
        if name == "value-2":
            break
    iris.page.keyboard.press("Control+a")
    iris.page.keyboard.type("4.9")
    with iris.page.expect_response("**/predict_names"):
        iris.page.keyboard.press("Enter")
    expect(iris.page.locator("#prediction")).to_be_visible()
    assert iris.calls[-1][1] == {"instances": [[5.1, 3.5, 4.9, 0.2]]}
    for _ in range(2):
        iris.page.keyboard.press("Tab")
    assert iris.page.evaluate(focused) == ["predict", "solid"]
    with iris.page.expect_response("**/predict_names"):
        iris.page.keyboard.press("Enter")
    expect(iris.page.locator("#result")).to_be_visible()
    iris.page.wait_for_function("() => document.querySelector('#answer').getAttribute('aria-busy') === null")
    assert len(iris.calls) == 2


def test_of_two_questions_the_later_one_is_answered_whichever_answer_comes_first(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    earlier, later = iris.service.hold(SAMPLES[0]), iris.service.hold(SAMPLES[2])
    for name in ("setosa", "virginica"):
        with iris.page.expect_request("**/predict_names"):
            iris.page.get_by_role("button", name=name).click()
    expect(iris.page.locator("#answer")).to_have_attribute("aria-busy", "true")
    expect(iris.page.get_by_role("alert")).to_be_empty()
    later.set()
    expect(iris.page.locator("#prediction")).to_have_text("virginica")
    expect(iris.page.locator("#answer")).not_to_have_attribute("aria-busy", "true")
    earlier.set()
    iris.page.evaluate("() => fetch('/version').then(answer => answer.text())")
    expect(iris.page.locator("#prediction")).to_have_text("virginica")


def test_without_an_example_the_form_starts_empty_and_says_what_it_needs(visit: Callable[..., Visit]) -> None:
    iris = visit({**IRIS, "examples": []})
    expect(iris.page.get_by_text("Enter values and press Predict.")).to_be_visible()
    expect(iris.page.get_by_text("Try an example")).to_have_count(0)
    iris.page.get_by_role("button", name="Predict").click()
    expect(iris.page.get_by_role("alert")).to_have_text("Some fields need a number.")
    expect(iris.page.locator("#value-0")).to_be_focused()
    assert iris.calls == []


# --- what can go wrong ------------------------------------------------------------------------------------------------


def test_an_error_of_the_service_stands_beside_the_field_that_it_names_and_is_announced(
    visit: Callable[..., Visit],
) -> None:
    iris = visit(IRIS)
    wrong = iris.page.get_by_label("petal length (cm)")
    wrong.fill("1e39")
    iris.page.get_by_role("button", name="Predict").click()
    words = "petal length (cm) is not a finite number within ±3.4e38"
    expect(iris.page.locator("#error-2")).to_have_text(words)
    expect(iris.page.get_by_role("alert")).to_contain_text(words)
    expect(iris.page.get_by_role("alert")).to_contain_text("INVALID_PARAMETER_VALUE")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_attribute("aria-invalid", "true")
    expect(wrong).to_have_accessible_description(words)
    wrong.fill("1.4")
    expect(iris.page.locator("#error-2")).to_be_hidden()
    iris.predict()
    expect(iris.page.get_by_role("alert")).to_be_empty()


def test_an_empty_number_is_asked_for_at_its_field_before_the_service_is(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    empty = iris.page.get_by_label("sepal width (cm)")
    empty.fill("")
    iris.page.get_by_role("button", name="Predict").click()
    expect(iris.page.locator("#error-1")).to_have_text("Enter a number.")
    expect(iris.page.get_by_role("alert")).to_have_text("sepal width (cm) needs a number.")
    expect(empty).to_be_focused()
    assert iris.calls == []


@pytest.mark.parametrize(
    ("typed", "sent"), [("5,1", 5.1), (" 0,125", 0.125), ("5.1", 5.1), ("1234,5", 1234.5), ("5e0", 5)]
)
def test_a_decimal_comma_is_as_good_as_a_point(visit: Callable[..., Visit], typed: str, sent: float) -> None:
    iris = visit(IRIS)
    iris.page.get_by_label("sepal length (cm)").fill(typed)
    iris.predict()
    ((_, body),) = iris.calls
    assert body["instances"][0][0] == sent


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("1,234", "Enter 1234, or 1.234 where the comma is a decimal one."),
        ("1.234,5", "Enter a number."),
        ("5.1 cm", "Enter a number."),
        ("five", "Enter a number."),
    ],
)
def test_what_is_no_number_or_may_be_two_is_not_asked(visit: Callable[..., Visit], typed: str, words: str) -> None:
    iris = visit(IRIS)
    iris.page.get_by_label("sepal length (cm)").fill(typed)
    iris.page.get_by_role("button", name="Predict").click()
    expect(iris.page.locator("#error-0")).to_have_text(words)
    assert iris.calls == []


def test_an_error_without_a_place_or_without_json_is_shown_all_the_same(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    iris.page.route("**/predict_names", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    iris.page.get_by_role("button", name="Predict").click()
    expect(iris.page.get_by_role("alert")).to_contain_text("The service answered with status 502.")
    iris.page.route("**/predict_names", lambda route: route.abort())
    iris.page.get_by_role("button", name="Predict").click()
    expect(iris.page.get_by_role("alert")).to_contain_text("The service did not answer")


def test_a_stale_model_is_told_with_what_hinders_the_newer_one(visit: Callable[..., Visit]) -> None:
    stale = visit(STALE)
    notice = stale.page.get_by_role("status").filter(has_text="There may be a newer version.")
    expect(notice).to_contain_text("version 4 is refused: it is not signed")
    stale.predict()


def test_without_a_model_the_reasons_are_shown_and_no_form(visit: Callable[..., Visit]) -> None:
    empty = visit(EMPTY)
    expect(empty.page.get_by_role("heading", level=1)).to_have_text("No model is served yet")
    expect(empty.page.get_by_text(EMPTY["reasons"][0])).to_be_visible()
    expect(empty.page.locator("form")).to_have_count(0)
    expect(empty.page.get_by_role("link", name="/ready")).to_be_visible()


def test_without_a_model_the_page_opens_by_itself_once_there_is_one(visit: Callable[..., Visit]) -> None:
    empty = visit(EMPTY, has_clock=True)
    expect(empty.page.locator("#looking")).to_be_visible()
    empty.service.page |= {key: value for key, value in IRIS.items() if key != "url"}
    empty.page.clock.fast_forward(5000)
    expect(empty.page.get_by_role("heading", level=1)).to_have_text("iris_logistic_regression")


def test_what_can_be_looked_at_is_linked_and_nothing_else_is(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS)
    found = iris.page.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert set(found) == {
        "http://localhost:5000/#/models/iris_logistic_regression/versions/3",
        "/",  # loads the page anew
        *("/health", "/ping", "/ready", "/version", "/metrics", "/status", "/openapi.json"),
    }


# --- the same call ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [IRIS, HOUSES], ids=["iris", "houses"])
def test_the_curl_text_is_the_call_that_the_form_makes(visit: Callable[..., Visit], context: Any) -> None:
    a_page = visit(context)
    a_page.page.locator("#value-0").fill("-12.5")
    a_page.predict()
    command, url, *options = shlex.split(a_page.page.locator("#curl").inner_text().replace("\\\n", ""))
    assert command == "curl"
    path, body = a_page.calls[0]
    assert url == a_page.service.page["url"] + path
    assert options[:3] == ["-H", "Content-Type: application/json", "-d"]
    assert json.loads(options[3]) == body
    assert body["instances"][0][0] == -12.5


@pytest.mark.parametrize("context", [IRIS, HOUSES], ids=["iris", "houses"])
def test_the_python_text_makes_the_call_that_the_form_makes(visit: Callable[..., Visit], context: Any) -> None:
    a_page = visit(context)
    a_page.predict()
    text = a_page.page.locator("#python").inner_text()
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "predictions" in run.stdout
    assert a_page.calls[1] == a_page.calls[0]


def test_the_call_is_copied_to_the_clipboard(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS, permissions=("clipboard-read", "clipboard-write"))
    iris.page.get_by_role("button", name="Copy the call as curl").click()
    expect(iris.page.locator("#curl-copied")).to_have_text("Copied")
    assert iris.page.evaluate("() => navigator.clipboard.readText()") == iris.page.locator("#curl").inner_text()


def test_where_there_is_no_clipboard_the_call_is_selected(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS, prepare="Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    iris.page.get_by_role("button", name="Copy the call as Python").click()
    expect(iris.page.locator("#python-copied")).to_have_text("Selected: press Ctrl+C")
    assert iris.page.evaluate("() => getSelection().toString()").strip() == iris.page.locator("#python").inner_text()


# --- many columns, many classes ---------------------------------------------------------------------------------------


def test_of_many_columns_a_few_are_shown_any_is_found_and_all_are_sent(visit: Callable[..., Visit]) -> None:
    wide = visit(WIDE)
    shown = wide.page.locator(".field:visible")
    expect(shown).to_have_count(24)
    search = wide.page.get_by_label("Find one of 500 columns")
    search.fill("sensor_48")
    expect(shown).to_have_count(10)
    wide.page.get_by_label("sensor_480_reading").fill("7")
    search.fill("")
    wide.page.get_by_role("button", name="Show all 500 columns").click()
    expect(shown).to_have_count(500)
    wide.predict()
    row = wide.calls[0][1]["instances"][0]
    assert len(row) == 500
    assert row[480] == 7


def test_a_field_that_is_not_shown_is_shown_when_it_is_wrong(visit: Callable[..., Visit]) -> None:
    wide = visit(WIDE)
    hidden = wide.page.locator("#value-485")
    expect(hidden).to_be_hidden()
    wide.page.get_by_label("Find one of 500 columns").fill("sensor_485")
    hidden.fill("1e39")
    wide.page.get_by_label("Find one of 500 columns").fill("")
    expect(hidden).to_be_hidden()
    wide.page.get_by_role("button", name="Predict").click()
    expect(hidden).to_be_focused()


def test_of_many_classes_the_ten_likeliest_come_first(visit: Callable[..., Visit]) -> None:
    wide = visit(WIDE)
    wide.predict()
    bars = wide.page.locator("#bars li:visible .name")
    expect(bars).to_have_text(WIDE_NAMES[:10])
    wide.page.get_by_role("button", name="Show all 30 classes").click()
    expect(bars).to_have_count(30)


# --- for everybody, and safely ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_blocked_fails_or_comes_from_elsewhere(visit: Callable[..., Visit], name: Any) -> None:
    a_page = visit(
        PAGES[name],
        prepare="addEventListener('securitypolicyviolation', e => console.error(`blocked: ${e.violatedDirective}`))",
    )
    if name == "empty":
        expect(a_page.page.get_by_role("heading", level=1)).to_be_visible()
    else:
        a_page.predict()
    assert a_page.complaints == []
    assert [url for url in a_page.requests if not url.startswith(a_page.service.page["url"] + "/")] == []


def test_names_with_html_are_shown_as_text(visit: Callable[..., Visit]) -> None:
    hostile = visit(HOSTILE)
    expect(hostile.page.get_by_role("heading", level=1)).to_have_text(f"model {NAUGHTY}")
    expect(hostile.page.get_by_label(NAUGHTY, exact=True)).to_have_value("1")
    expect(hostile.page.get_by_label(f"text {NAUGHTY}")).to_have_value(NAUGHTY)
    hostile.press(NAUGHTY)
    expect(hostile.page.locator("#prediction")).to_have_text(NAUGHTY)
    expect(hostile.page.locator(".description")).to_have_text(NAUGHTY)
    assert hostile.page.locator("img").count() == 0
    assert hostile.page.locator("script").count() == 2
    assert hostile.calls[0][1] == {"instances": [[1, NAUGHTY]]}
    assert hostile.complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_at_375_pixels_nothing_is_scrolled_sideways(visit: Callable[..., Visit], name: Any) -> None:
    a_page = visit(PAGES[name], width=375)
    if name != "empty":
        a_page.predict()
        for summary in a_page.page.locator("summary").all():
            summary.click()
    beyond = """() => [...document.querySelectorAll("body *")]
        .filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest("pre, .unseen"))
        .map(e => e.outerHTML.slice(0, 120))"""
    assert a_page.page.evaluate(beyond) == []
    assert a_page.page.evaluate("() => document.documentElement.scrollWidth") == 375


@pytest.mark.parametrize("name", PAGES)
def test_every_control_has_a_name_and_no_level_of_headings_is_left_out(visit: Callable[..., Visit], name: Any) -> None:
    a_page = visit(PAGES[name])
    if name != "empty":
        a_page.predict()
    assert a_page.page.locator("html").get_attribute("lang") == "en"
    session = a_page.page.context.new_cdp_session(a_page.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    seen = [(n["role"]["value"], n.get("name", {}).get("value", "").strip()) for n in nodes if not n["ignored"]]
    controls = {"textbox", "searchbox", "spinbutton", "combobox", "button", "link", "region", "navigation"}
    assert [role for role, named in seen if role in controls and not named] == []
    levels = a_page.page.locator("h1, h2, h3, h4").evaluate_all("found => found.map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = a_page.page.locator("[id]").evaluate_all("found => found.map(e => e.id)")
    assert len(ids) == len(set(ids))


CONTRASTS = """() => {
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number)
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
    const ground = e => {
        const own = numbers(getComputedStyle(e).backgroundColor)
        return own[3] === 0 && e.parentElement ? ground(e.parentElement) : own
    }
    const ratio = e => {
        const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x)
        return (a + 0.05) / (b + 0.05)
    }
    return [...document.querySelectorAll("body *")]
        .filter(e => e.checkVisibility() && !e.matches("script, option"))
        .filter(e => e.matches("input, select, textarea") || [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
        .filter(e => ratio(e) < 4.5)
        .map(e => `${ratio(e).toFixed(2)} ${e.outerHTML.slice(0, 100)}`)
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["stale", "wide", "plans", "empty"])
def test_all_text_has_the_contrast_of_wcag_aa(visit: Callable[..., Visit], name: str, scheme: str) -> None:
    a_page = visit(PAGES[name], color_scheme=scheme, reduced_motion="reduce")
    if name != "empty":
        a_page.predict()
        assert a_page.page.evaluate(CONTRASTS) == []
    if name == "plans":
        a_page.page.get_by_label("plan", exact=True).select_option("another value …")
        a_page.page.get_by_label("another value of plan").fill("Gold")
    elif name != "empty":
        a_page.page.locator("#value-0").fill("1e39")
        a_page.page.get_by_role("button", name="Predict").click()
        expect(a_page.page.get_by_role("alert")).not_to_be_empty()
    assert a_page.page.evaluate(CONTRASTS) == []
    red = "() => Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert (a_page.page.evaluate(red) < 128) == (scheme == "dark")


def test_nothing_moves_for_whoever_wants_less_motion(visit: Callable[..., Visit]) -> None:
    iris = visit(IRIS, reduced_motion="reduce")
    iris.predict()
    moving = """() => [...document.querySelectorAll("body *")]
        .filter(e => getComputedStyle(e).transitionDuration !== "0s" || getComputedStyle(e).animationName !== "none").length"""
    assert iris.page.evaluate(moving) == 0
