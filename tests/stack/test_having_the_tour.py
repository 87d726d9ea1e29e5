"""The guided tour on the stack: its commands for Docker, in their order, print what the pages show.

It begins where the first `up` has ended, with version 1, so this file comes before those that train; and it ends with version 1 in
Production. Each command that both ways have in common is compared in all its output without Docker (integration/test_guided_tour.py);
what runs here is that the parts are wired. So the companion, which is asked after each phase, is asked once, at the end, in both
languages.
"""

import subprocess
from collections.abc import Iterator

from tests.compose import Stack, eventually
from tests.guided_tour import LANGUAGES, PAGES, Step, differs, steps

UP = "docker compose up -d --wait"  # as the fixture has done
LAST = PAGES[-1]


def walk() -> Iterator[Step]:
    """Yield the blocks that are run here: those that both languages have in English, and both of the last companion."""
    for page in PAGES:
        for english, spanish in zip(*(steps(language, page) for language in LANGUAGES), strict=True):
            if english.docker in (None, UP) or (english.is_companion and page != LAST):
                continue
            yield english
            if english.is_companion:
                yield spanish


def printed(stack: Stack, command: str) -> str:
    """Type a command as the pages have it; return what it prints, or the last line of its complaint."""
    command = command.replace("http://localhost:1235", stack.url)
    command = command.replace(
        "docker compose ", "docker compose --progress quiet "
    )  # what Compose says of images is its own
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=stack.folder,
        env=stack.environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return result.stdout or "\n".join(result.stderr.splitlines()[-1:])


def test_the_commands_of_the_tour_print_what_its_pages_show(stack: Stack) -> None:
    assert sorted(stack.versions()) == ["1"]
    for step in walk():
        text = printed(stack, str(step.docker))
        assert (wrong := differs(step.shown, text)) is None, f"{step.docker}: {wrong}"
        eventually("what is in Production is served", lambda: stack.served_version() == stack.alias())
    assert sorted(stack.versions()) == ["1", "2", "3"]
    assert stack.alias() == "1"
