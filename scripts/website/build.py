"""Make the site of the documentation from the Markdown that is in the repository: `make site`.

python build.py                              into build/site/html; it works from the file system and under any path
python build.py --version 0.1.0 --into DIR   the site of a release beside those before it, in DIR/0.1.0

Pages are what one comes to from README.md by its links; docs/README.md says in which order. Nothing is written by hand for the
site alone. Each page of docs/ must be in its navigation, each link lead somewhere, and nothing come from another host.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from textwrap import indent
from urllib.parse import unquote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "site"
START, INDEX, WORKSHOP = ROOT / "README.md", ROOT / "docs" / "README.md", ROOT / "docs" / "workshop"
# Where a page or a file of the repository is in the site, other than where it is in the repository.
MOVED = {START: "index.md", INDEX: "pages.md", ROOT / "data" / "README.md": "data.md"}
LANGUAGES = {"en": "English", "es": "Español"}
WITHOUT = {"en": "Without Docker", "es": "Sin Docker"}
# Code has brackets and parentheses of its own.
CODE = re.compile(r"^```.*?^```|^ {4}.*?$|`[^`]*`", re.M | re.S)
LINK = re.compile(r"(\[[\w./-]+\.md)?\]\(([^)\s]+)\)")
# What the guided tour has for the same step, with Docker and without it, and what both show.
BOTH_WAYS = re.compile(r"^```console\n(\$ docker .+)\n(\$ make .+)\n((?:(?!```).*\n)*)```$", re.M)
SHOWN = {".md", ".png", ".svg"}

Section = Mapping[str, "str | Sequence[str | Section]"]
"""a title → a page, or what is below it"""


def main(arguments: list[str]) -> int:
    """Build it and look through it; return 1 where something is wrong with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", help="of a release; without it, the site is of what is here now")
    parser.add_argument("--into", type=Path, default=BUILD / "versions", help="the folder with all versions")
    options = parser.parse_args(arguments)
    pages = reached(START)
    faults = [f"{page.relative_to(ROOT)} is not in docs/README.md" for page in orphans(pages)]
    faults += flattened(pages)
    stage(pages, options.version)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--strict",
        "--clean",
        "--config-file",
        BUILD / "zensical.toml",
    ]
    built = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    if built.returncode:
        print(built.stdout + built.stderr, file=sys.stderr)
    faults += [] if built.returncode else [*dead_ends(BUILD / "html")]
    say_languages(BUILD / "html")
    for fault in faults:
        print(f"site: {fault}", file=sys.stderr)
    if not faults and not built.returncode:
        place = add_version(options.into, options.version) if options.version else BUILD / "html"
        print(f"{len(pages)} pages in {os.path.relpath(place)}: open {os.path.relpath(place / 'index.html')}")
    return 1 if faults or built.returncode else 0


# --- the pages -----------------------------------------------------------------------------------------------------


def links(page: Path) -> Iterator[Path]:
    """Yield the files of the repository that a page leads to, in its order."""
    for target in (found[2] for found in LINK.finditer(CODE.sub("", page.read_text()))):
        path = target.partition("#")[0]
        if path and "://" not in target and not target.startswith("mailto:"):
            yield (page.parent / path).resolve()


def reached(start: Path) -> list[Path]:
    """Return all pages that one comes to from a page by links, itself first, and those of the workshop."""
    pages = [start, *sorted(WORKSHOP.rglob("*.md"))]
    for page in pages:  # which grows as it goes
        pages += [path for path in links(page) if path.suffix == ".md" and path.is_file() and path not in pages]
    return list(dict.fromkeys(pages))


def orphans(pages: Iterable[Path]) -> set[Path]:
    """Return the pages of docs/ that nothing leads to."""
    return set((ROOT / "docs").rglob("*.md")) - set(pages)


def flattened(pages: Iterable[Path]) -> Iterator[str]:
    """Yield the lists in lists that Python-Markdown would take for one list: it asks for four blanks before them."""
    for page in pages:
        for found in re.finditer(r"^ {1,3}(?:[-*]|\d+\.) .*", CODE.sub("", page.read_text()), re.M):
            yield f"{page.relative_to(ROOT)}: a list in a list is indented by four blanks: {found[0].strip()[:60]}"


def place(path: Path) -> str:
    """Return where a file of the repository is in the site; what a browser would not show is a text there."""
    found = MOVED.get(path) or path.relative_to(ROOT).as_posix().removeprefix("docs/")
    return found if path.suffix in SHOWN else f"files/{found.lstrip('.')}.txt"


def title(page: Path) -> str:
    """Return a page's heading, which in the site stands for the name of its file."""
    return page.read_text().partition("\n")[0].lstrip("# ")


def navigation(pages: list[Path]) -> list[str | Section]:
    """Return the pages in the order of docs/README.md, the workshop's by their folders, and what else is linked at the end."""
    sections: list[str | Section] = [{"Start": MOVED[START]}]
    languages: list[str | Section] = [
        {LANGUAGES.get(folder.name, folder.name): [place(page) for page in sorted(folder.glob("*.md"), key=_in_order)]}
        for folder in sorted(WORKSHOP.glob("*/"))
        if [*folder.glob("*.md")]
    ]
    if languages:
        sections.append({"Workshop": languages})
    listed = {page for page in pages if WORKSHOP in page.parents} | {START, INDEX}
    for title, part in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", INDEX.read_text(), re.M | re.S):
        targets = [(INDEX.parent / found[2].partition("#")[0]).resolve() for found in LINK.finditer(part)]
        chapters = [path for path in dict.fromkeys(targets) if path in pages and path not in listed]
        listed |= set(chapters)
        sections.append({title: [place(page) for page in chapters]})
    rest = [MOVED[INDEX], *(place(page) for page in pages if page not in listed)]
    return [*sections, {"The project": rest}]


def _in_order(page: Path) -> tuple[bool, str]:
    return page.stem not in ("index", "README"), page.name


# --- what the generator is given -----------------------------------------------------------------------------------


def stage(pages: list[Path], version: str | None) -> None:
    """Put the pages, what they lead to and the configuration where the generator looks for them."""
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    for page in pages:
        _write(source / place(page), in_tabs(_with_links(page, pages), page.parent.name))
        for path in links(page):
            if path.suffix != ".md" and path.is_file():
                _copy(path, source / place(path))
    for name in ("site.css", "iframe-worker.js"):
        _copy(HERE / name, source / name)
    top = f'[project]\ndocs_dir = "source"\nnav = {_toml(navigation(pages))}'
    configuration = (HERE / "zensical.toml").read_text().replace("[project]", top, 1)
    if version:
        configuration += '\n[project.extra.version]\nprovider = "mike"\n'  # whose form versions.json has
    _write(BUILD / "zensical.toml", configuration)


def _with_links(page: Path, pages: list[Path]) -> str:
    """Return a page's text, in which links lead to where things are in the site."""
    here = Path(place(page)).parent

    def moved(found: re.Match[str]) -> str:
        path, mark, anchor = found[2].partition("#")
        target = (page.parent / path).resolve()
        if not path or "://" in found[2] or not (target in pages or target.is_file()):
            return found[0]
        address = f"{Path(os.path.relpath(place(target), here)).as_posix()}{mark}{anchor}"
        return f"[{title(target)}]({address})" if found[1] else f"{found[1] or ''}]({address})"

    parts, end, text = [], 0, page.read_text()
    for code in CODE.finditer(text):
        parts += [LINK.sub(moved, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(moved, text[end:])])


def in_tabs(text: str, language: str) -> str:
    """Return a page's text in which a step that is taken with Docker or without it has a tab for each way."""

    def tabs(found: re.Match[str]) -> str:
        ways = {"Docker": found[1], WITHOUT.get(language, WITHOUT["en"]): found[2]}
        blocks = {title: f"```console\n{command}\n{found[3]}```" for title, command in ways.items()}
        return "\n\n".join(f'=== "{title}"\n\n{indent(block, "    ")}' for title, block in blocks.items())

    return BOTH_WAYS.sub(tabs, text)


def _toml(value: "str | Section | Sequence[str | Section]") -> str:
    """Return texts, lists and tables as TOML writes them in one line."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_toml(key)} = {_toml(each)}' for key, each in value.items())} }}"
    return f"[{', '.join(map(_toml, value))}]"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def say_languages(folder: Path) -> None:
    """Let the pages of the workshop say which language they are in: to screen readers, and to browsers that offer to translate."""
    for language in LANGUAGES:
        for page in (folder / "workshop" / language).glob("*.html"):
            page.write_text(page.read_text().replace('<html lang="en"', f'<html lang="{language}"', 1))


# --- what came of it -----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page of the site leads to or loads, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to."""
        known = {name: value for name, value in attributes if value is not None}
        self.anchors |= {known[name] for name in ("id", "name") if name in known}
        if tag == "a" and "href" in known:
            self.links.append(known["href"])
        elif tag == "link" and known.get("rel") not in ("canonical", "alternate", "prev", "next") and "href" in known:
            self.loads.append(known["href"])
        elif "src" in known:
            self.loads.append(known["src"])


def dead_ends(folder: Path) -> Iterator[str]:
    """Yield what a page of the site leads to that is not there, and what it loads from another host."""
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(folder)
        yield from (f"{name} loads {address}" for address in page.loads if re.match(r"(https?:)?//", address))
        for address in [*page.links, *page.loads]:
            if re.match(r"[a-z]+:|//|#__", address) or path.name == "404.html":
                continue
            file, _, anchor = unquote(address).partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            if not target.exists():
                yield f"{name} leads to {address}, which is not there"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{name} leads to {address}, and there is no such heading"


def add_version(into: Path, version: str) -> Path:
    """Put the site beside those of other versions; `into` leads to the newest, and each can choose among all."""
    folder = into / version
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BUILD / "html", folder)
    versions = sorted((path.parent.name for path in into.glob("*/index.html")), key=_number, reverse=True)
    listed = [{"version": each, "title": each, "aliases": ["latest"] * (each == versions[0])} for each in versions]
    (into / "versions.json").write_text(json.dumps(listed, indent=2) + "\n")
    (into / "index.html").write_text(
        f'<!doctype html><meta http-equiv="refresh" content="0; url={versions[0]}/index.html">\n'
    )
    (into / ".nojekyll").touch()  # which would leave out files whose names begin with _
    return folder


def _number(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
