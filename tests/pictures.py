"""Pictures on the pages of docs/: taken in headless Chromium, and held against what is to be read there today. Imports nothing of ours.

Beside a picture, NAME.png, is the text that it shows, NAME.txt: a picture shows nothing that its page no longer says. With TAKE_PICTURES=1
both are taken anew.
"""

import io
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import FloatRect, Page, sync_playwright

from tests import chromium
from tests.compose import eventually
from tests.guided_tour import masked, without_figures

WIDTH, HEIGHT = 1280, 800
ASSISTANT = 450  # MLflow's UI opens with it in the quarter at the right, and pictures leave it out
TAKEN_ANEW = os.environ.get("TAKE_PICTURES") == "1"
# Lines of one moment or of one run.
OF_NOW = re.compile(
    r"\d ?(ms|s|min|seconds?|minutes?|hours?|days?)\b|just now|\d+/\d+/\d+|\b(AM|PM|GMT|UTC)\b|TIME|DIGEST"
    r"|#[0-9a-f]{6}|\bmove\.\d|ms\.",
    re.I,
)
WITHIN = """([width, height]) => {
  const found = [], nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  while (nodes.nextNode()) {
    range.selectNodeContents(nodes.currentNode);
    const box = range.getBoundingClientRect();
    if (box.width && box.height && box.top >= 0 && box.bottom <= height && box.right <= width)
      found.push(nodes.currentNode.textContent);
  }
  return found.join("\\n");
}"""
EVERYWHERE = (10**6, 10**6)


@contextmanager
def a_page() -> Iterator[Page]:
    """Yield a page of headless Chromium; skip the test where there is no browser, and none is asked for."""
    if (missing := chromium.missing()) and os.environ.get("REQUIRE_STACK") != "1":
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.PROGRAM)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@dataclass(frozen=True)
class Shot:
    """A picture: what is to be read on it, and how much of the page it is."""

    picture: Path
    words: str
    """that are there once all of the page is, and are on the picture"""
    height: int = HEIGHT
    figures: bool = True
    """whether its figures are the same whenever it is taken"""
    names: Collection[str] = ()
    """of another program's page, which looks otherwise in another version: what is looked for, and is ours"""

    def read(self, page: Page, width: int, height: int) -> set[str]:
        """Return what is to be read on so much of a page, without what is of one moment or of one run."""
        text = page.evaluate(WITHIN, [width, height])
        if self.names:
            return {name for name in self.names if name in text}
        lines = {line for line in masked(text) if not OF_NOW.search(line)}
        # What is told of a share that is all but nothing or everything begins with < or >.
        return lines if self.figures else {re.sub("^[<>] ", "", without_figures(line)) for line in lines}


def hold(page: Page, shot: Shot) -> None:
    """Fail where a picture shows what is not to be read on the open page."""
    kept = shot.picture.with_suffix(".txt")
    page.get_by_text(shot.words).locator("visible=true").first.wait_for()
    if TAKEN_ANEW:
        page.wait_for_timeout(5000)  # nobody knows yet what there will be
        clip: FloatRect = {"x": 0, "y": 0, "width": WIDTH, "height": shot.height}
        _keep(page.screenshot(clip=clip, full_page=True), shot.picture)
        kept.write_text("".join(f"{line}\n" for line in sorted(shot.read(page, WIDTH, shot.height))))
    shown = set(kept.read_text().splitlines())
    assert any(shot.words in line for line in shown)
    eventually(
        f"{shown - shot.read(page, *EVERYWHERE)}, on {shot.picture.name}, is there",
        lambda: shown <= shot.read(page, *EVERYWHERE),
        30,
    )


def _keep(screenshot: bytes, picture: Path) -> None:
    """Write a picture in 256 colours, a third of its bytes."""
    with Image.open(io.BytesIO(screenshot)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True)
