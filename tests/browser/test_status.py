"""Headless Chromium opens the status page of the prediction service, with made-up figures behind it, and looks at it as a person does."""

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
from inference.web import flask_app
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from tests.unit.serving import SERVED, service_of

NAUGHTY = "<img src=x onerror=alert(1)>"
FIGURES: dict[str, Any] = {
    "requests": {"200": 90, "400": 6, "503": 4},
    "errors": {"INVALID_PARAMETER_VALUE": 6, "RESOURCE_EXHAUSTED": 4},
    "rows": {"6": 100, "7": 1234},
    "seconds": {"0.001": 50, "0.0025": 90, "0.005": 95, "0.25": 100, "+Inf": 100},
    "in_flight": 3,
    "waiting": 1,
    "swaps": 2,
    "refused_versions": {"8": 1},
    "prediction_log_dropped": {"full": 7},
    "labels": {"trusted": 40, "repeated": 2},
    "challenger": {"alike": 31, "unlike": 9},
    "shadow": {},
    "shadow_milliseconds": {},
}
DRIFT = {"drift": True, "columns": ["age", NAUGHTY], "rows": 5120, "looked": "2026-11-26T22:00:01Z", "problem": None,
         "accuracy": 0.93, "labelled_rows": 300, "estimated_accuracy": None}  # fmt: skip
SCHEDULE = {"next": "2026-12-01T02:17:00+01:00", "running": None,
            "last": {"outcome": "kept", "ended": "2026-11-24T02:20:00+01:00", "reason": "no better"},
            "challenge": {"last": {"outcome": "ended", "version": "6", "time": "2026-11-26T02:20:00+00:00", "reason": NAUGHTY},
                          "problem": "the monitor does not answer"}}  # fmt: skip


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the service counts from now on, to be changed; both neighbours answer."""
    found = {name: dict(value) if isinstance(value, dict) else value for name, value in FIGURES.items()}
    monkeypatch.setattr(flask_app, "figures_of_all", lambda: found)
    said = iter((DRIFT, SCHEDULE))
    monkeypatch.setattr(flask_app, "Neighbour", lambda _: Says(next(said)))
    return found


class Says:
    """Another part of the stack, which answers."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def said(self) -> dict[str, Any]:
        return self._content


@pytest.fixture
def visit(browser: Browser, figures: dict[str, Any]) -> Iterator[Callable[..., Page]]:
    """Return what opens the page; whatever goes wrong in it fails the test."""
    server = make_server("127.0.0.1", 0, service_of(SERVED), threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    faults: list[str] = []
    contexts = []

    def opened(**options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.goto(f"http://127.0.0.1:{server.server_port}/status")
        expect(page.locator("#looked")).to_contain_text("again every 2 seconds")
        return page

    yield opened
    for context in contexts:
        context.close()
    server.shutdown()
    thread.join()
    server.server_close()
    assert faults == []


def row(page: Page, title: str) -> list[str]:
    return page.get_by_role("row", name=title).first.locator("td").all_inner_texts()


def test_the_page_shows_what_was_counted_since_the_start_and_what_the_others_say(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 1280, "height": 900})
    assert row(page, "Requests")[1] == "100"
    assert row(page, "Failed (5xx)")[1] == "4"
    assert row(page, "Refused, the client's fault")[1] == "6"
    assert row(page, "Median time")[1] == "1.0 ms"
    assert row(page, "99 % are answered within")[1] == "201 ms"
    assert row(page, "RESOURCE_EXHAUSTED")[1] == "4"
    expect(page.locator("#facts")).to_contain_text("Version 7")
    expect(page.locator("#rollout")).to_contain_text("version 8")
    expect(page.locator("#log")).to_contain_text("Not kept (full)")
    expect(page.locator("#log")).to_contain_text("Labels with a key40")
    expect(page.locator("#rollout")).to_contain_text("Answered otherwise by the challenger9")
    expect(page.locator("#challenger")).to_be_hidden()
    expect(page.locator("#drift")).to_contain_text(f"drift: age, {NAUGHTY}")
    expect(page.locator("#schedule")).to_contain_text("kept")
    expect(page.locator("#schedule")).to_contain_text("Challengeended: version 6, ")
    expect(page.locator("#schedule")).to_contain_text(f": {NAUGHTY}In its waythe monitor does not answer")


def test_while_there_is_a_challenger_the_page_says_whom_it_answers(
    visit: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = {"version": "8", "mode": "split", "percent": 10.0, "returned": None}
    monkeypatch.setattr(flask_app, "challenger_content", lambda *_: split)
    page = visit(viewport={"width": 1280, "height": 900})
    expect(page.locator("#challenger")).to_contain_text("Version 8, the challenger, answers 10 of 100 requests")


def test_what_has_just_happened_stands_beside_what_was_since_the_start(
    visit: Callable[..., Page], figures: dict[str, Any]
) -> None:
    page = visit(viewport={"width": 1280, "height": 900})
    figures["requests"]["200"] += 40
    figures["seconds"] = {"0.001": 50, "0.0025": 90, "0.005": 135, "0.25": 140, "+Inf": 140}
    expect(page.get_by_role("row", name="Requests").first.locator("td").first).to_have_text("40")
    assert row(page, "Requests")[1] == "140"
    assert row(page, "Median time")[0] == "3.8 ms"
    expect(page.locator("#chart-words")).to_contain_text("Requests a second while this page is open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(visit: Callable[..., Page], scheme: str) -> None:
    page = visit(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 246, 245)", "dark": "rgb(15, 21, 19)"}[scheme]


def test_a_service_that_answers_no_more_is_said_to_and_what_it_said_stays(
    visit: Callable[..., Page],
) -> None:
    page = visit(viewport={"width": 1280, "height": 900})
    page.route("**/status", lambda route: route.fulfill(status=200, json={"nothing": "of use"}))
    expect(page.locator("#looked")).to_contain_text("No answer at")
    assert row(page, "Requests")[1] == "100"
