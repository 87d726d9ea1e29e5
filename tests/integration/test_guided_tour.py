"""The guided tour without Docker: each command of its pages is run in their order, and prints what both languages show."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests import pictures
from tests.guided_tour import FOLDER, LANGUAGES, PAGES, Step, differs, steps, without_links
from tests.integration.places import CLASSES, DATA, ROOT, Place, Service
from tests.mlflow_ui import open_ui

pytestmark = pytest.mark.unhurried

REFUSED = "trainer: "  # what a command prints that fails, as the page of an exercise has it do


@dataclass(frozen=True)
class Printed:
    """What came of a command."""

    exit_code: int
    text: str


class Walk:
    """A person without Docker, who has two services running in terminals of their own and types one command after the other."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.place = Place(folder)
        (folder / "data").mkdir()
        shutil.copy(DATA / "iris_dataset.csv", folder / "data")
        self._running = running
        self.services: dict[str, Service] = {}

    def types(self, command: str) -> Printed:
        """Run a command as the pages have it."""
        if not command.startswith("make "):
            return self._shell(command)
        name, *options = self._made(command)
        if name in ("ui", "serve"):
            # The service's page shows calls of the address that people have, and not of this test's.
            settings = {"MODEL_POLL_SECONDS": "0.1", "INFERENCE_PUBLIC_URL": "http://localhost:1235"}
            started = self.place.embedded(name, **settings)
            self.services[name] = self._running.enter_context(started)
            if name == "serve":
                self.services[name].answers("/ready")
            return Printed(0, "")
        return self._trainer(name, *options)

    def _made(self, command: str) -> list[str]:
        """Return the words that the Makefile hands to scripts/embedded.py."""
        dry = subprocess.run(
            ["make", "--dry-run", "--no-print-directory", *shlex.split(command)[1:]],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        _, script, *words = shlex.split(dry.stdout.splitlines()[-1])
        assert script == "scripts/embedded.py"
        return words

    def _shell(self, command: str) -> Printed:
        if "localhost:1235" in command:
            command = command.replace("http://localhost:1235", self.services["serve"].url)
        result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
        return Printed(result.returncode, result.stdout)

    def _trainer(self, *words: str) -> Printed:
        service = self.services.get("serve")
        settings = {"COLUMNS": "80", "DATA_DIR": str(self.place.folder / "data")}
        if service:
            settings["INFERENCE_URL"] = service.url
        result = self.place.command(*words, **settings)
        if service:
            now = self.place.registry()["alias"]
            service.serves(now)
        return Printed(result.returncode, result.stdout or "\n".join(result.stderr.splitlines()[-1:]))


def walk_on(walk: Walk, page: str) -> Iterator[tuple[str, Step, Printed]]:
    """Run a page's commands, those that both languages have once; yield language, block and what was printed."""
    for blocks in zip(*(steps(language, page) for language in LANGUAGES), strict=True):
        printed: dict[str, Printed] = {}
        for language, step in zip(LANGUAGES, blocks, strict=True):
            if step.make is None:
                continue
            if step.make not in printed:
                printed[step.make] = walk.types(step.make)
            yield language, step, printed[step.make]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with ExitStack() as running:
        yield Walk(tmp_path_factory.mktemp("tour") / "place", running)


PICTURES = FOLDER / "pictures"
MODE = "?workflowType=machine_learning"
RUNS, REGISTRY = f"/#/experiments/1/runs{MODE}", f"/#/models/iris_logistic_regression{MODE}"


@dataclass(frozen=True)
class View:
    """What is on a picture: whose page it is, and a text that is there once all of it is."""

    service: str
    path: str
    last: str
    pressed: str = ""
    height: int = pictures.HEIGHT

    def open(self, walk: Walk, page: Page) -> None:
        page.set_viewport_size(
            {"width": pictures.WIDTH + pictures.ASSISTANT * (self.service == "ui"), "height": pictures.HEIGHT}
        )
        there = walk.place.folder.as_uri() if self.service == "file" else walk.services[self.service].url
        if self.service == "ui":
            open_ui(page, there + self.path, self.last)
        else:
            page.goto(there + self.path)
        if self.pressed:
            page.get_by_text(self.pressed).click()


# What is seen after the commands of a page.
VIEWS = {
    "1-explore.md": {"report": View("file", "/data/exploration/report.html", "sepal length (cm)", height=1100)},
    "3-train-and-track.md": {"runs": View("ui", RUNS, "logistic_regression 0.7000 v3")},
    "4-registry.md": {"versions": View("ui", REGISTRY, "trying it by hand")},
    "5-serving.md": {"answer": View("serve", "/", "84.3% probable", "Iris versicolor", 980)},
    "6-production.md": {
        "registry": View("ui", REGISTRY, "customers complain"),
        "page": View("serve", "/", "Ask the model"),
    },
}
WAY = [(page, name) for page in PAGES for name in ("", *VIEWS.get(page, ()))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with pictures.a_page() as page:
        yield page


@pytest.mark.parametrize(("page", "picture"), WAY)
def test_each_command_does_what_both_languages_show_and_each_picture_shows_what_is_seen_then(
    walk: Walk, page: str, picture: str, request: pytest.FixtureRequest
) -> None:
    if picture:
        view, tab = VIEWS[page][picture], request.getfixturevalue("browser")
        view.open(walk, tab)
        pictures.hold(tab, pictures.Shot(PICTURES / f"{picture}.png", view.last, view.height))
        return
    for language, step, printed in walk_on(walk, page):
        shown = without_links(step.shown)
        assert (printed.exit_code == 0) is not shown.startswith(REFUSED), (step.make, printed.text)
        assert not shown or (wrong := differs(shown, printed.text)) is None, f"{language}: {step.make}: {wrong}"


def test_mlflow_and_the_prediction_service_have_run_all_the_way(walk: Walk) -> None:
    walk.services["ui"].answers("/health")
    assert walk.services["serve"].predict() == CLASSES
    assert walk.place.registry()["alias"] == "1"


# Runs the notebook's cells as Jupyter does, one after the other in one scope; prints what each prints.
CELLS = """
import contextlib, io, json, os
os.chdir({folder!r})
printed, scope = [], {{"__name__": "__main__"}}
for cell in json.load(open("workshop.ipynb"))["cells"]:
    if cell["cell_type"] == "code":
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            exec("".join(cell["source"]), scope)
        printed.append(stream.getvalue())
print(json.dumps(printed))
"""


def test_the_notebook_walks_the_same_way_with_plain_mlflow_and_prints_what_it_shows(walk: Walk) -> None:
    folder = walk.place.folder / "examples"  # in which MLflow keeps files where it has no server
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "workshop.ipynb", folder)
    cells = json.loads((folder / "workshop.ipynb").read_text())["cells"]
    outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    shown = ["".join(line for output in found for line in output["text"]) for found in outputs]
    assert walk.place.notebook(CELLS.format(folder=str(folder))) == shown
    assert sorted(walk.place.client.get_registered_model("iris_workshop").aliases) == ["Production"]
