"""The code that docs/your-own-model.md has people run in a notebook, and what comes of each block. Imports nothing of ours."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "your-own-model.md"
URL = "http://localhost:5000"


@dataclass(frozen=True)
class Snippet:
    """A block of the page that registers a version."""

    heading: str
    """the section that it stands in"""
    model: str
    """the registered model"""
    rows: list[list[Any]]
    """what the service is asked once the version is adopted"""
    answers: list[Any]
    engine: str
    options: tuple[str, ...] = ()
    """of `adopt`"""

    def code(self, tracking_url: str) -> str:
        """Return the block as it stands there, but for the address."""
        (code,) = blocks(self.heading)
        assert URL in code
        return code.replace(URL, tracking_url)


FLOWERS = [[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4], [6.3, 3.3, 6.0, 2.5]]
TICKETS = [["lost password", "app", 3.0], ["wrong invoice", "shop", 4.0]]
# A further block of the page is a further line.
SNIPPETS = [
    Snippet("Have it served", "iris_logistic_regression", FLOWERS, [0, 1, 2], "onnx"),
    Snippet("A forest", "iris_logistic_regression", FLOWERS, [0, 1, 2], "onnx"),
    Snippet("Text and dates", "tickets", TICKETS, ["account", "billing"], "scikit-learn"),
    Snippet("XGBoost by its own flavor", "iris_xgboost", FLOWERS, [0, 1, 2], "pyfunc", ("--allow-code",)),
    Snippet("A model of your own code", "iris_rule", FLOWERS, [0, 1, 1], "pyfunc", ("--allow-code",)),
]


def blocks(heading: str, page: Path = PAGE) -> list[str]:
    """Return the Python blocks of a section."""
    return re.findall(r"^```python\n(.*?)^```$", section(heading, page), re.M | re.S)


def section(heading: str, page: Path) -> str:
    (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page.read_text(), re.M | re.S)
    return str(found)
