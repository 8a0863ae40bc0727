"""The alerts of the chart, told to promtool: each fires, and each stays silent where nobody has to act."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.alert_scene import Story
from tests.integration.alert_stories import FIRING, STORIES
from tests.integration.chart_rules import alerts, boards, rendered
from tests.integration.helm import CHART

pytestmark = pytest.mark.integration

SAYS_VALUE = re.compile(r"{{ \$value[^}]*}}")
SAYS_LABEL = re.compile(r"{{ \$labels\.(\w+) }}")


def expected(told: str, spec: dict[str, Any], fires: str) -> dict[str, Any]:
    """One alert as promtool asks for it: what its annotations say with these labels and this value."""
    name, *pairs = fires.split()
    labels = dict(pair.split("=") for pair in pairs)
    rule = alerts(spec)[name]

    def said(text: str) -> str:
        return SAYS_VALUE.sub(told, SAYS_LABEL.sub(lambda found: labels[found.group(1)], text))

    annotations = {key: said(text) for key, text in rule["annotations"].items()}
    return {"exp_labels": labels | rule["labels"], "exp_annotations": annotations}


def asked(story: Story, spec: dict[str, Any]) -> dict[str, Any]:
    """The story as one test of promtool's."""
    test: dict[str, Any] = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in story.series.items()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": f"{int(story.minutes * 60)}s",
                "exp_samples": [{"labels": sample(fires, spec), "value": 1} for fires in story.fires],
            }
        ],
    }
    if story.told is not None:
        test["alert_rule_test"] = [
            {
                "eval_time": f"{int(story.minutes * 60)}s",
                "alertname": fires.split()[0],
                "exp_alerts": [expected(story.told, spec, fires)],
            }
            for fires in story.fires
        ]
    return test


def sample(fires: str, spec: dict[str, Any]) -> str:
    name, *pairs = fires.split()
    labels = dict(pair.split("=") for pair in pairs) | alerts(spec)[name]["labels"]
    labels |= {"__name__": "ALERTS", "alertname": name, "alertstate": "firing"}
    return "{" + ", ".join(f"{label}={json.dumps(value)}" for label, value in labels.items()) + "}"


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says of each story, by its name. It is asked once for each set of values of the chart."""
    by_values: dict[str, list[Story]] = {}
    for story in STORIES:
        by_values.setdefault(json.dumps(story.values), []).append(story)
    found: dict[str, str] = {}
    for stories in by_values.values():
        folder = tmp_path_factory.mktemp("rules")
        spec = rendered(dict(stories[0].values))["spec"]
        (folder / "rules.yaml").write_text(json.dumps(spec))  # which is YAML, and quickly written
        files = {str(folder / f"{number}.yaml"): story for number, story in enumerate(stories)}
        for file, story in files.items():
            test = {"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": [asked(story, spec)]}
            Path(file).write_text(json.dumps(test))
        command = ["promtool", "test", "rules", *files]
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        parts = [part.partition("\n") for part in said.split("Unit Testing:")[1:]]
        found |= {str(files[file.strip()]): verdict.strip() for file, _, verdict in parts}
    return found


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_the_alerts_that_fire_are_those_of_the_story(story: Story, verdicts: dict[str, str]) -> None:
    assert verdicts[str(story)] == "SUCCESS"


def test_each_alert_has_a_story_in_which_it_fires_with_all_that_it_says() -> None:
    told = [fires.split()[0] for story in FIRING for fires in story.fires]
    assert sorted(told) == sorted(alerts(rendered({})["spec"]))


def test_promtool_finds_no_fault_with_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(json.dumps(rendered({})["spec"]))
    done = subprocess.run(["promtool", "check", "rules", str(tmp_path / "rules.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_labels_and_the_place_of_the_runbooks_are_values() -> None:
    values = {"labels": {"release": "prometheus"}, "alertLabels": {"team": "platform"}, "runbookUrl": "https://wiki/x/"}
    rule = rendered({"prometheusRule": values})
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    for name, alert in alerts(rule["spec"]).items():
        assert alert["labels"]["team"] == "platform"
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["runbook_url"] == f"https://wiki/x/{name}.md"


def test_dashboards_ask_by_the_label_that_tells_clusters_apart() -> None:
    texts = [boards(values) for values in ({}, {"metrics": {"clusterLabel": "k8s"}})]
    assert texts[0] == {file.name: file.read_text() for file in (CHART / "dashboards").glob("*.json")}
    for name, text in texts[1].items():
        assert json.loads(text.replace("k8s", "cluster")) == json.loads(texts[0][name])
        assert "cluster" not in re.sub(r'\$\{?cluster|"name": "cluster"|Variable-cluster', "", text)


def test_an_alert_that_is_not_there_cannot_be_left_out() -> None:
    with pytest.raises(AssertionError, match="there is no alert CeleriacNoLeaders; there are CeleriacBrokerUnreadable"):
        rendered({"prometheusRule": {"disabled": ["CeleriacNoLeaders"]}})
