"""The rooms of the house: docs/architecture.md names each module once, under the folder that it lies in; what is long is told."""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LINTED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
# What no row names: the services' tops, which the text around the tables tells of. (Nor does it a package's own file.)
UNNAMED = {"__main__", "server"}
HEADINGS = {
    "setup": "The set-up",
    "audit": "The audit log",
    "packages": "The packages",
    "mlflow": "MLflow's server",
    "contract": "What both sides read",
    "trainer": "The trainer",
    "cleanup": "The clean-up",
    "accounts": "The accounts",
    "doctor": "The doctor",
    "monitoring": "The monitoring",
    "inference": "The prediction service",
}

MOST_LINES = 40  # of a function, its decorators left out


def _told(service: str) -> list[str]:
    """Return what the page's table of a service names: room/module."""
    (section,) = re.findall(rf"^## {HEADINGS[service]}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    rows = re.findall(r"^\| `([a-z_/]+)/` \| (.+?) \|", section, re.M)
    return [
        f"{room}/{name}".removeprefix(f"{service}/") for room, names in rows for name in re.findall(r"`(\w+)`", names)
    ]


def _there(service: str) -> list[str]:
    folder = ROOT / "services" / service
    paths = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.py"))
    return [path for path in paths if path not in UNNAMED and not path.endswith("__init__")]


@pytest.mark.parametrize("service", HEADINGS)
def test_each_module_is_named_once_under_its_room(service: str) -> None:
    assert Counter(_told(service)) == Counter(_there(service))


def test_no_package_is_left_out_of_the_page_or_of_what_holds_who_imports_whom() -> None:
    folders = {path.relative_to(ROOT / "services").parts[0] for path in (ROOT / "services").rglob("*.py")}
    packages = {folder for folder in folders if (ROOT / "services" / folder / "__init__.py").exists()}
    named = {folder for folder in folders if _there(folder)}  # the others are tops alone
    assert named == set(HEADINGS)
    assert [folder for folder in folders - named if f"`services/{folder}/`" not in PAGE] == []
    assert set(LINTED["root_packages"]) == packages
    layers = {name for layer in LINTED["contracts"][0]["layers"] for name in layer.split(" | ")}
    assert layers == packages
    (circles,) = [contract for contract in LINTED["contracts"] if contract["type"] == "acyclic_siblings"]
    assert set(circles["ancestors"]) == packages


def test_whatever_has_rooms_in_it_has_a_contract_that_lists_them_all() -> None:
    services = ROOT / "services"
    folders = {path.parent for name in LINTED["root_packages"] for path in (services / name).rglob("*.py")}
    # A folder without one is nothing to import-linter.
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
    having = {".".join(folder.parent.relative_to(services).parts) for folder in folders} - {""}
    listed = [contract["containers"] for contract in LINTED["contracts"] if contract.get("exhaustive")]
    assert Counter(name for containers in listed for name in containers) == Counter(having)


def test_a_packages_own_file_imports_nothing_of_ours_so_that_no_circle_goes_through_it() -> None:
    own = {path: _imported(path) & set(LINTED["root_packages"]) for path in (ROOT / "services").rglob("__init__.py")}
    assert {str(path.relative_to(ROOT)): names for path, names in own.items() if names} == {}


@pytest.mark.parametrize("service", HEADINGS)
def test_no_room_is_so_full_that_nothing_is_found_in_it(service: str) -> None:
    rooms = Counter(path.rpartition("/")[0] for path in _there(service))
    assert max(rooms.values()) <= 12


def _functions(folder: str) -> Iterator[tuple[str, int]]:
    """Yield each function of a folder's files as FILE:LINE NAME, and its lines."""
    for path in (ROOT / folder).rglob("*.py"):
        statements: list[ast.AST] = [ast.parse(path.read_bytes())]
        for node in statements:  # which grows as it goes; a statement's expressions have no functions in them
            for name in ("body", "orelse", "finalbody", "handlers", "cases"):
                statements += getattr(node, name, ())
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", lines


@pytest.mark.parametrize("folder", ["services", "scripts", "tests", "benchmarks", "examples"])
def test_a_function_fits_in_one_look(folder: str) -> None:
    assert {name: lines for name, lines in _functions(folder) if lines > MOST_LINES} == {}


def _imported(path: Path) -> set[str]:
    """Return the packages that a module imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_the_contract_imports_numpy_and_yaml_at_most_where_it_neither_loads_nor_verifies() -> None:
    folder = ROOT / "services" / "contract"
    # A step of a pipeline is one of scikit-learn's, and is imported where a pipeline is; so is a boosted estimator.
    of_pipelines = [folder / "preparation" / "steps.py", *(folder / "boosting").glob("*.py")]
    loads = {folder / "signature.py", *of_pipelines, *(folder / "trust").glob("*.py")}
    loads.add(folder / "vouched" / "pyfunc.py")
    found = {name for path in folder.rglob("*.py") if path not in loads for name in _imported(path)}
    assert found - sys.stdlib_module_names <= {"contract", "numpy", "yaml"}
