"""The pages of the guided tour in both languages: the same way, told twice."""

import re
from pathlib import Path

import pytest
from trainer.workshop.words import PAGES as PAGES_OF_PHASES

from tests.guided_tour import FOLDER, LANGUAGES, PAGES, Step, differs, steps

SPANISH = (" --language es", ' ARGS="--language es"')


def text(language: str, page: str) -> str:
    return (FOLDER / language / page).read_text()


def prose(language: str, page: str) -> str:
    return re.sub(r"^```.*?^```", "", text(language, page), flags=re.M | re.S)


def in_english(command: str | None) -> str | None:
    for option in SPANISH:
        command = command and command.replace(option, "")
    return command


def test_both_languages_have_the_same_pages() -> None:
    for language in LANGUAGES:
        assert sorted(path.name for path in (FOLDER / language).iterdir()) == sorted(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_headings_in_the_same_order(page: str) -> None:
    english, spanish = (re.findall(r"^#+", prose(language, page), re.M) for language in LANGUAGES)
    assert english == spanish


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_commands_and_show_the_same(page: str) -> None:
    english, spanish = (list(steps(language, page)) for language in LANGUAGES)
    assert [(step.docker, step.make) for step in english] == [
        (in_english(step.docker), in_english(step.make)) for step in spanish
    ]
    for ours, theirs in zip(english, spanish, strict=True):
        assert ours.is_companion or ours.shown == theirs.shown, ours.make


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_tables_links_and_pictures(page: str) -> None:
    english, spanish = (prose(language, page) for language in LANGUAGES)
    for pattern in (r"\]\((?!\.\./(?:en|es)/)([^)\s]+)\)", r"<(https?://[^>]+)>", r"^\|[-|]+$"):
        assert sorted(re.findall(pattern, english, re.M)) == sorted(re.findall(pattern, spanish, re.M))
    assert english.count("\n|") == spanish.count("\n|")


@pytest.mark.parametrize("page", PAGES[1:])
@pytest.mark.parametrize(
    ("language", "headings"),
    [
        ("en", ("Goal", "Concepts", "Do it", "What you see", "Look in MLflow", "Exercise", "What people ask")),
        (
            "es",
            (
                *("Objetivo", "Conceptos", "Manos a la obra", "Lo que ves", "Qué mirar en MLflow", "Ejercicio"),
                "Lo que suele preguntar la gente",
            ),
        ),
    ],
)
def test_each_phase_has_a_goal_concepts_commands_an_exercise_with_its_answer_and_questions(
    page: str, language: str, headings: tuple[str, ...]
) -> None:
    found = [heading for heading in re.findall(r"^## (.+)$", text(language, page), re.M) if heading in headings]
    assert tuple(found) == headings
    assert f"<details><summary>{'Answer' if language == 'en' else 'Respuesta'}</summary>" in text(language, page)


@pytest.mark.parametrize("page", PAGES)
def test_the_spanish_is_spanish_and_renders(page: str) -> None:
    found = text("es", page)
    assert not re.search("Ã|�|&[a-z]+;", found)  # accents that were encoded twice, or otherwise
    assert re.search("[áéíóúñ¿«]", found)
    told = prose("es", page).replace("?workflowType", "")
    assert told.count("¿") == told.count("?")
    assert found.count("```") % 2 == 0


def test_the_companion_names_pages_that_are_there() -> None:
    assert [f"{name}.md" for name in PAGES_OF_PHASES.values()] == list(PAGES[1:])


def test_a_page_that_shows_something_else_than_is_printed_is_told() -> None:
    printed = "Version 2 of m is in Production; before it was 1.\nRun: http://localhost:5731/#/experiments/7\nend\n"
    assert differs("Version 2 of m is in Production; before it was 1.\n…\nend", printed) is None
    assert differs("Version 3 of m is in Production; before it was 1.\n…\nend", printed) is not None
    assert differs("Version 2 of m is in Production; before it was 1.\nend", printed) is not None
    assert differs("", printed) is not None


def test_a_block_says_which_way_its_commands_are_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = ["$ docker compose run --rm trainer\n$ make train\n1\n", "$ make ui\n", "$ curl x\n2\n3\n"]
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "page.md").write_text("\n".join(f"```console\n{block}```\n" for block in blocks))
    monkeypatch.setattr("tests.guided_tour.FOLDER", tmp_path)
    assert list(steps("en", "page.md")) == [
        Step("docker compose run --rm trainer", "make train", "1"),
        Step(None, "make ui", ""),
        Step("curl x", "curl x", "2\n3"),
    ]
