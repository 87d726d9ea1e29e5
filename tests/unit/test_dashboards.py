"""Alerts and panels ask for figures that there are: to Prometheus an unknown name is no error, and no figure either."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inference.telemetry.metrics
import pytest
import yaml
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "monitoring"
RULES = [rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RULES_TESTS = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
BOARDS = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))
# Of Prometheus itself; of the two exporters, whose names the test of the stack holds against what they say.
OF_PROMETHEUS, OF_EXPORTERS = {"up", "ALERTS"}, ("pg_", "minio_")
# Of parts with a page of their own, which lists their figures.
PAGES = {"monitor_": "monitoring.md", "training_": "schedule.md"}
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}


def _panels() -> list[dict[str, Any]]:
    return [panel for path in BOARDS for panel in json.loads(path.read_text())["panels"]]


def _annotations() -> list[dict[str, Any]]:
    return [note for path in BOARDS for note in json.loads(path.read_text())["annotations"]["list"]]


def _expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in _panels() for target in panel["targets"])
    yield from (note["target"]["expr"] for note in _annotations())


def _named(expression: str) -> set[str]:
    """Return the metrics that an expression names: what is no label, text, time, function or word of PromQL."""
    bare = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)
    bare = re.sub(r"\{[^}]*\}|\b(by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    found = set(re.findall(r"(?<![\w:.])[A-Za-z_:][\w:]*(?!\w|\s*\()", bare))
    return found - {"and", "or", "unless", "by", "on", "bool"}


def _rendered() -> set[str]:
    """Return the names under which the prediction service's own registry tells its figures."""
    assert inference.telemetry.metrics.CONTENT_TYPE
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    return {family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, ("",))}


def _documented(page: Path) -> set[str]:
    """Return the metrics in the tables of a page; `…_low` goes with the name before it."""
    found: set[str] = set()
    for cell in re.findall(r"^\| (`\w+`(?:, `[…\w]+`)*) \|", page.read_text(), re.M):
        first, *others = re.findall(r"`([…\w]+)`", cell)
        found |= {first, *(other.replace("…", first) for other in others)}
    return found


def _known() -> set[str]:
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    (of_backups,) = set(re.findall(r"# TYPE (\w+) gauge", (ROOT / "services/backup/backup").read_text()))
    pages = [ROOT / "docs" / page for page in PAGES.values() if (ROOT / "docs" / page).exists()]
    return (
        OF_PROMETHEUS | recorded | {of_backups} | _rendered() | {name for page in pages for name in _documented(page)}
    )


def test_every_metric_of_an_alert_or_a_panel_is_one_that_is_told() -> None:
    named = {name for expression in _expressions() for name in _named(expression)}
    without_page = tuple(prefix for prefix, page in PAGES.items() if not (ROOT / "docs" / page).exists())
    assert {name for name in named if not name.startswith((*OF_EXPORTERS, *without_page))} - _known() == set()
    assert len(named) > 30


def test_what_names_a_metric_in_an_expression_is_found() -> None:
    assert _named('sum by (le) (rate(a_bucket{le="b_c"}[5m])) / b:c > 14.4 * 0.001 and up == 0 or vector(0)') == {
        "a_bucket",
        "b:c",
        "up",
    }


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_each_alert_is_proven_to_fire_and_not_to(alert: str) -> None:
    cases = [
        case["exp_alerts"]
        for test in RULES_TESTS
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == alert
    ]
    assert [] in cases
    assert any(cases)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_how_urgent_it_is_and_what_to_do_and_the_page_lists_it(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description"}
    row = rf"^\| `{rule['alert']}` \| {rule['labels']['severity']} \|"
    assert re.search(row, (ROOT / "docs/dashboards.md").read_text(), re.M)


def test_each_panel_asks_the_data_source_that_is_provisioned_and_none_lies_on_another() -> None:
    (source,) = yaml.safe_load((FOLDER / "grafana/datasources/prometheus.yml").read_text())["datasources"]
    cells: set[tuple[int, int]] = set()
    for panel in _panels():
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        at = panel["gridPos"]
        covered = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not covered & cells
        assert max(x for x, _ in covered) < 24
        cells |= covered
    assert len({panel["id"] for panel in _panels()}) == len(_panels())
