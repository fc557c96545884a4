"""Alert rules and dashboards speak of metrics that exist, and the rules tell what they are for."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.layout.conftest import ROOT

from ingest_service.accept.metrics import DOOR_METRICS
from ingest_service.keep.metrics import MAINTENANCE_METRICS
from ingest_service.land.metrics import LAND_METRICS
from ingest_service.relay.metrics import RELAY_METRICS
from millrace_runtime.metrics import Metric
from millrace_runtime.service import PORTS, PROCESS_PORTS
from millrace_testkit.real.programs import BackendMissingError, promtool
from query_service.metrics import TABLE as QUERY_METRICS

OBSERVABILITY = ROOT / "deploy" / "observability"
DASHBOARDS = sorted(OBSERVABILITY.glob("dashboards/*.json"))
METRIC = re.compile(r"\bmillrace_[a-z_]+")
SERIES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture(scope="module")
def tool() -> str:
    try:
        return promtool()
    except BackendMissingError as missing:
        if os.environ.get("MILLRACE_REQUIRE_REAL") == "1":
            pytest.fail(f"{missing}; MILLRACE_REQUIRE_REAL=1 asks for it", pytrace=False)
        pytest.skip(str(missing))


def run(tool: str, *arguments: str | Path, within: Path = OBSERVABILITY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool, *arguments], cwd=within, capture_output=True, text=True, check=False, timeout=60
    )


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panel_expressions() -> Iterator[tuple[str, str]]:
    """Title and expression of every query of every dashboard."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield panel["title"], target["expr"]


def series() -> set[str]:
    """Every name under which a metric of ours is stored."""
    metrics: list[Metric] = [
        *DOOR_METRICS, *RELAY_METRICS, *LAND_METRICS, *MAINTENANCE_METRICS, *QUERY_METRICS
    ]  # fmt: skip
    return {metric.name + ending for metric in metrics for ending in SERIES[metric.kind]}


@pytest.mark.real
def test_each_rule_is_raised_by_what_it_is_for_and_by_nothing_ordinary(tool: str) -> None:
    tried = run(tool, "test", "rules", "alerts.test.yaml")
    assert tried.returncode == 0, tried.stdout + tried.stderr


@pytest.mark.real
def test_a_rule_that_tells_nothing_is_noticed(tool: str, tmp_path: Path) -> None:
    """The rules' tests are no formality: without its `for`, or at another threshold, a rule fails them."""
    text = (OBSERVABILITY / "alerts.yaml").read_text()
    (tmp_path / "alerts.test.yaml").write_text((OBSERVABILITY / "alerts.test.yaml").read_text())
    for rule, changed in (("== 0\n        for: 1m", "== 2\n        for: 1m"), ("> 900 or", "> 900000 or")):
        assert rule in text
        (tmp_path / "alerts.yaml").write_text(text.replace(rule, changed))
        assert run(tool, "test", "rules", "alerts.test.yaml", within=tmp_path).returncode == 1


@pytest.mark.real
def test_the_scrape_configuration_is_valid_with_the_rules(tool: str) -> None:
    checked = run(tool, "check", "config", "prometheus.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.real
def test_prometheus_understands_every_panel(tool: str, tmp_path: Path) -> None:
    as_rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression) in enumerate(panel_expressions())
    ]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": as_rules}]}))
    checked = run(tool, "check", "rules", "panels.yaml", within=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rules_and_panels_ask_for_series_that_exist() -> None:
    asked = [*(rule["expr"] for rule in rules()), *(expression for _, expression in panel_expressions())]
    unknown = {name for expression in asked for name in METRIC.findall(expression)} - series()
    assert asked
    assert unknown == set()


def test_every_rule_says_what_happened_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]


def test_every_rule_is_tried() -> None:
    tried = (OBSERVABILITY / "alerts.test.yaml").read_text()
    for rule in rules():
        assert (
            f'alertname="{rule["alert"]}"' in tried
            or f"alertname={rule['alert']}" in tried
            or (re.search(rf'alertname=~"[^"]*\b{rule["alert"]}\b', tried))
        ), rule["alert"]


def test_the_scrape_configuration_names_every_process_with_its_port() -> None:
    jobs = yaml.safe_load((OBSERVABILITY / "prometheus.yaml").read_text())["scrape_configs"]
    scraped = {int(job["static_configs"][0]["targets"][0].rpartition(":")[2]) for job in jobs}
    assert {endpoint.management_port for endpoint in PORTS.values()} | set(PROCESS_PORTS.values()) == scraped
