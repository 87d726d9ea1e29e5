"""The page of `monitor report`, as a person sees it on a telephone, and on a screen that is dark."""

from pathlib import Path

from monitoring.page import html_report
from monitoring.sources.reference import of_profile
from playwright.sync_api import Browser

from tests.unit.monitored import Log, profile


def test_the_report_fits_a_telephone_and_shows_what_drifted_first(browser: Browser, tmp_path: Path) -> None:
    log = Log(tmp_path / "kept")
    log.keep(1000, shift=1.0)
    log.label(300, lambda at: at % 5 != 0)
    page = tmp_path / "report.html"
    page.write_text(html_report.report(log.look(of_profile(profile(), None), by="city")))
    view = browser.new_page(viewport={"width": 375, "height": 700}, color_scheme="dark")
    said: list[str] = []
    view.on("console", lambda message: said.append(message.text))
    view.goto(page.as_uri())
    assert view.evaluate("document.documentElement.scrollWidth") == 375
    assert view.locator(".quality").evaluate("table => table.clientWidth <= table.parentElement.clientWidth")
    assert view.locator(".row").first.inner_text().startswith("age")
    drawn = view.locator("figure.over").first
    assert drawn.locator("h3").inner_text() == "age"
    assert drawn.locator("rect.now").count() == 22
    assert view.locator(".names").first.locator("li").count() >= 2
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
    assert said == []
    view.close()
