"""The alerts as a file: true to the metrics and values that exist, and each with its page."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.chart.metric_names import metric_names

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "charts" / "celeriac" / "files" / "rules" / "celeriac.yaml").read_text()
RULES: list[dict[str, Any]] = [rule for group in yaml.safe_load(TEXT)["groups"] for rule in group["rules"]]
VALUES = yaml.safe_load((ROOT / "charts" / "celeriac" / "values.yaml").read_text())
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["What it means", "What it costs", "How to look", "How to mend", "When it lies"]


def test_every_threshold_of_the_values_is_used_and_no_other() -> None:
    words = set(re.findall(r"<(\w+)>", TEXT.partition("groups:")[2]))
    others = {"clusterLabel", "tickSeconds", "operatorSelector", "operatorSelectorText"}
    assert words == set(VALUES["prometheusRule"]["thresholds"]) | others


def test_every_metric_of_an_alert_exists() -> None:
    asked = {name for each in RULES for name in re.findall(r"celeriac_\w+", each["expr"])}
    assert {re.sub(r"_(count|sum|bucket)$", "", name) for name in asked} <= metric_names()


def test_every_alert_of_a_pool_tells_twins_in_namespaces_and_clusters_apart() -> None:
    for rule in RULES:
        of_pools = re.findall(r"by \(([^)]*)\)", rule["expr"])
        if "celeriac_pool" in rule["expr"] or "celeriac_queue" in rule["expr"]:
            assert all(labels.startswith("<clusterLabel>, namespace, pool") for labels in of_pools), rule["alert"]


def test_every_alert_says_for_how_long_how_bad_and_what() -> None:
    for rule in RULES:
        assert rule["for"], rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_every_alert_has_a_runbook_with_all_its_parts_and_no_page_is_left_over() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in RULES}
    for rule in RULES:
        page = (RUNBOOKS / f"{rule['alert']}.md").read_text()
        assert page.startswith(f"# {rule['alert']}\n\n{rule['labels']['severity'].capitalize()}. ")
        assert re.findall(r"^## (.+)$", page, re.MULTILINE) == SECTIONS
        assert "```promql\n" in page
        assert "kubectl" in page
        for word in re.findall(r"<(\w+)>", f"{rule['for']} {rule['expr']}"):
            if word in VALUES["prometheusRule"]["thresholds"]:
                assert f"`{word}`" in page, rule["alert"]
