"""MLflow's UI in a browser, as tests open it. Imports nothing of ours."""

from playwright.sync_api import Page, Request, TimeoutError


def open_ui(page: Page, url: str, words: str) -> None:
    """Open a page of MLflow's UI; where the words do not come in half a minute, load all of it once more, and say what did not arrive.

    A file of the UI that did not arrive is not asked for again, and as its pages differ by what follows the #, for which nothing is
    loaded, one lost file is missing on all that follow.
    """
    lost: list[str] = []

    def note(request: Request) -> None:
        lost.append(f"{request.url}: {request.failure}")

    page.on("requestfailed", note)
    try:
        page.goto(url)
        try:
            page.get_by_text(words).locator("visible=true").first.wait_for(timeout=30_000)
        except TimeoutError:
            print(f"{words!r} is not on {url} and it is loaded once more; requests that failed:", *lost, sep="\n")
            page.reload()
    finally:
        page.remove_listener("requestfailed", note)
