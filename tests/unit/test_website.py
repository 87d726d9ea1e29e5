"""The site of the documentation: what is in it, in which order, and what is found wrong with it. `make lint` builds it."""

import json
from pathlib import Path
from typing import Any

import pytest
from website import build

ROOT = Path(__file__).parents[2]
PAGE = """<html><head>{head}</head><body><h1 id="top">A page</h1>{body}</body></html>"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of a few pages, with a workshop in two languages."""
    pages = {
        "README.md": "# The project\n\nSee [docs/README.md](docs/README.md), [settings](.env.example) and [what is new](CHANGELOG.md#one).\n",
        "CHANGELOG.md": "# Changes\n",
        ".env.example": "# PORT=1\n",
        "docs/README.md": "# Pages\n\n## Using it\n\n| page |\n|---|\n| [b.md](b.md) |\n| [a.md](a.md) |\n| [one](workshop/en/index.md) |\n",
        "docs/a.md": "# A\n\n`[code](nowhere.md)`, [back](../README.md#the-project)\n",
        "docs/b.md": "# B\n",
        "docs/workshop/en/index.md": "# Workshop\n",
        "docs/workshop/en/1-explore.md": "# Explore\n",
        "docs/workshop/es/index.md": "# Taller\n",
    }
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    start, index = tmp_path / "README.md", tmp_path / "docs" / "README.md"
    places: dict[str, Any] = {
        "ROOT": tmp_path,
        "START": start,
        "INDEX": index,
        "WORKSHOP": tmp_path / "docs" / "workshop",
    }
    places |= {"MOVED": {start: "index.md", index: "pages.md"}, "BUILD": tmp_path / "build" / "site"}
    for name, value in places.items():
        monkeypatch.setattr(build, name, value)
    return tmp_path


def test_every_page_of_the_documentation_is_reached_by_links_from_the_readme() -> None:
    assert build.orphans(build.reached(build.START)) == set()


# Those of the workshop begin with where the reader is.
PAGES = sorted(page for page in (ROOT / "docs").glob("**/*.md") if "workshop" not in page.parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_says_in_its_first_line_what_it_is_for(page: Path) -> None:
    assert page.read_text().splitlines()[2].startswith("This page ")


def test_a_page_that_nothing_leads_to_is_an_orphan(small: Path) -> None:
    (small / "docs" / "c.md").write_text("# C\n")
    assert build.orphans(build.reached(build.START)) == {small / "docs" / "c.md"}


def test_the_navigation_has_the_order_of_the_index_and_a_section_for_each_language_of_the_workshop(small: Path) -> None:
    assert build.navigation(build.reached(build.START)) == [
        {"Start": "index.md"},
        {
            "Workshop": [
                {"English": ["workshop/en/index.md", "workshop/en/1-explore.md"]},
                {"Español": ["workshop/es/index.md"]},
            ]
        },
        {"Using it": ["b.md", "a.md"]},
        {"The project": ["pages.md", "CHANGELOG.md"]},
    ]


def test_links_lead_to_where_things_are_in_the_site_and_code_stays_as_it_is(small: Path) -> None:
    build.stage(build.reached(build.START), None)
    source = small / "build" / "site" / "source"
    assert (source / "index.md").read_text() == (
        "# The project\n\nSee [Pages](pages.md), [settings](files/env.example.txt) and [what is new](CHANGELOG.md#one).\n"
    )
    assert (source / "a.md").read_text() == "# A\n\n`[code](nowhere.md)`, [back](index.md#the-project)\n"
    assert (source / "files" / "env.example.txt").read_text() == "# PORT=1\n"


def test_a_step_of_the_workshop_has_a_tab_for_each_way_and_other_blocks_stay_as_they_are() -> None:
    alone = "```console\n$ make ui\n```\n\n```console\n$ curl x\n1\n```\n"
    assert build.in_tabs(alone, "es") == alone
    step = "Now:\n\n```console\n$ docker compose run --rm trainer\n$ make train\n1\n\n2\n```\n\nDone.\n"
    assert build.in_tabs(step, "es") == (
        'Now:\n\n=== "Docker"\n\n    ```console\n    $ docker compose run --rm trainer\n    1\n\n    2\n    ```\n\n'
        '=== "Sin Docker"\n\n    ```console\n    $ make train\n    1\n\n    2\n    ```\n\nDone.\n'
    )


def test_a_page_of_the_workshop_says_which_language_it_is_in(tmp_path: Path) -> None:
    for name in ("index", "workshop/en/index", "workshop/es/index"):
        page = tmp_path / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text('<html lang="en" class="no-js">')
    build.say_languages(tmp_path)
    said = {path.parent.name: path.read_text() for path in tmp_path.rglob("*.html")}
    assert said["es"] == '<html lang="es" class="no-js">'
    assert said["en"] == said[tmp_path.name] == '<html lang="en" class="no-js">'


@pytest.mark.parametrize(
    ("head", "body", "fault"),
    [
        ("", '<a href="b.html#top">b</a> <a href="#top">up</a> <a href="https://example.com">far</a>', None),
        ("", '<a href="c.html">c</a>', "a.html leads to c.html, which is not there"),
        ("", '<a href="b.html#nowhere">b</a>', "a.html leads to b.html#nowhere, and there is no such heading"),
        ("", '<img src="no.png">', "a.html leads to no.png, which is not there"),
        ('<script src="https://cdn.example.com/x.js"></script>', "", "a.html loads https://cdn.example.com/x.js"),
        ('<link rel="stylesheet" href="//fonts.example.com/x.css">', "", "a.html loads //fonts.example.com/x.css"),
    ],
)
def test_dead_links_missing_headings_and_what_comes_from_other_hosts_are_found(
    tmp_path: Path, head: str, body: str, fault: str | None
) -> None:
    (tmp_path / "a.html").write_text(PAGE.format(head=head, body=body))
    (tmp_path / "b.html").write_text(PAGE.format(head="", body=""))
    assert list(build.dead_ends(tmp_path)) == ([fault] if fault else [])


def test_a_release_is_added_beside_the_others_and_the_newest_is_the_one_to_begin_with(small: Path) -> None:
    (small / "build" / "site" / "html").mkdir(parents=True)
    (small / "build" / "site" / "html" / "index.html").write_text("")
    into = small / "pages"
    for version in ("0.9.0", "0.10.0", "0.9.1"):
        build.add_version(into, version)
    listed = json.loads((into / "versions.json").read_text())
    assert [(each["version"], each["aliases"]) for each in listed] == [
        ("0.10.0", ["latest"]),
        ("0.9.1", []),
        ("0.9.0", []),
    ]
    assert "0.10.0/index.html" in (into / "index.html").read_text()


def test_a_list_in_a_list_that_would_be_flattened_is_found(small: Path) -> None:
    (small / "docs" / "b.md").write_text("# B\n\n- one\n  - two\n\n1. one\n    - two\n")
    (fault,) = build.flattened(build.reached(build.START))
    assert fault == "docs/b.md: a list in a list is indented by four blanks: - two"
