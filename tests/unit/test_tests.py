"""The tests themselves: what they share lies in modules that are no tests."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_test_module_is_imported() -> None:
    modules = {path.stem for path in TESTS.rglob("test_*.py")}
    for path in TESTS.rglob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) .*\b(test_\w+)", path.read_text(), re.M)
        assert not modules.intersection(imported), f"{path.name} imports {imported}"
