"""The chart's monitors and rules before the CRDs of the Prometheus operator: an API server takes them as they are."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster import tools
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.integration.crds import wait_established
from tests.integration.helm import CHART, SYSTEM, Helm

pytestmark = pytest.mark.integration

PLURALS = ("servicemonitors", "podmonitors", "prometheusrules")
GROUP = "monitoring.coreos.com"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())["properties"]

RELABELING = {
    "action": "replace",
    "sourceLabels": ["__meta_kubernetes_pod_node_name"],
    "separator": ";",
    "regex": "(.*)",
    "replacement": "$1",
    "targetLabel": "node",
}
MONITOR: dict[str, Any] = {
    "enabled": True,
    "interval": "1m30s",
    "scrapeTimeout": "9s500ms",
    "labels": {"release": "prometheus"},
    "annotations": {"example.com/note": "hello"},
    "relabelings": [RELABELING, {"action": "hashmod", "sourceLabels": ["pod"], "modulus": 4, "targetLabel": "shard"}],
    "metricRelabelings": [
        {"action": "drop", "sourceLabels": ["__name__"], "regex": "python_.*"},
        {"action": "labeldrop", "regex": "instance"},
    ],
    "tlsConfig": {
        "ca": {"secret": {"name": "ca", "key": "ca.crt", "optional": False}},
        "cert": {"configMap": {"name": "client", "key": "tls.crt"}},
        "keySecret": {"name": "client", "key": "tls.key"},
        "serverName": "celeriac-metrics",
        "insecureSkipVerify": False,
        "minVersion": "TLS12",
    },
    "authorization": {"type": "Bearer", "credentials": {"name": "prometheus", "key": "token"}},
}
RULE: dict[str, Any] = {
    "enabled": True,
    "labels": {"release": "prometheus"},
    "alertLabels": {"team": "queues"},
    "disabled": ["CeleriacAgentDegraded"],
    "runbookUrl": "https://docs.example.com/runbooks/",
    "operatorSelector": 'job="mine"',
    "thresholds": {"waitFactor": 3.5, "drainSeconds": 14400, "waitFor": "1d2h", "noLeaderFor": "90s"},
}
SECURE = {"tls": {"secretName": "metrics-tls"}, "authentication": True}
VALUES: dict[str, dict[str, Any]] = {
    "little": {"metrics": {"serviceMonitor": {"enabled": True}}, "prometheusRule": {"enabled": True}},
    "little of pods": {"metrics": {"podMonitor": {"enabled": True}}, "prometheusRule": {"enabled": True}},
    "own token": {"metrics": {**SECURE, "serviceMonitor": {"enabled": True}}},
    "all": {"metrics": {**SECURE, "serviceMonitor": MONITOR}, "prometheusRule": RULE, "commonLabels": {"owner": "we"}},
    "all of pods": {"metrics": {**SECURE, "podMonitor": MONITOR}, "commonAnnotations": {"example.com/cost": "4711"}},
}


@pytest.fixture(scope="module")
def watched_cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The API server as the Prometheus operator's users have it."""
    files = tools.files("prometheus-operator")
    crds = [text for plural in PLURALS for text in ("-f", str(files[f"{GROUP}_{plural}.yaml"]))]
    control_plane.kubectl("create", *crds)  # not applied: each is larger than the annotation that this would make
    for plural in PLURALS:
        wait_established(control_plane, f"{plural}.{GROUP}")
    yield control_plane
    control_plane.kubectl("delete", *crds, "--wait=false")


@pytest.fixture(scope="module")
def helm(watched_cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm that only renders: the chart is not installed here."""
    return Helm(watched_cluster, tmp_path_factory.mktemp("helm"))


def theirs(helm: Helm, values: dict[str, Any], namespace: str = SYSTEM) -> list[dict[str, Any]]:
    """What the chart makes for the Prometheus operator, in a namespace of the test."""
    found = [each for each in helm.template(values) if each["apiVersion"] == f"{GROUP}/v1"]
    for each in found:
        each["metadata"]["namespace"] = namespace
    return found


def test_these_values_are_all_that_the_chart_has_for_monitoring() -> None:
    metrics = SCHEMA["metrics"]["properties"]
    for known in (metrics["serviceMonitor"], metrics["podMonitor"]):
        assert known["properties"].keys() == MONITOR.keys()
        assert known["properties"]["authorization"]["properties"].keys() == MONITOR["authorization"].keys()
    assert SCHEMA["prometheusRule"]["properties"].keys() == RULE.keys()


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_what_is_rendered_is_taken_without_a_warning_and_nothing_of_it_is_dropped(
    helm: Helm, watched_cluster: ControlPlane, namespace: str, values: dict[str, Any]
) -> None:
    manifests = theirs(helm, values, namespace)
    strict = ("create", "--validate=strict", "--warnings-as-errors", "-ojson", "-f", "-")
    assert manifests
    for each in manifests:
        made = json.loads(watched_cluster.kubectl(*strict, stdin=yaml.safe_dump(each)))
        assert made["spec"] == each["spec"]
        for field in ("labels", "annotations"):
            assert made["metadata"].get(field) == each["metadata"].get(field)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("relabelings", [{"sourceLabel": ["pod"], "targetLabel": "x"}], r'unknown field "spec.*\.sourceLabel"'),
        ("metricRelabelings", [{"action": "remove"}], r"action: Unsupported value"),
        ("tlsConfig", {"ca_file": "/ca.crt"}, r'unknown field "spec.*\.tlsConfig.ca_file"'),
    ],
)
def test_the_api_server_refuses_what_is_misspelt(
    helm: Helm, watched_cluster: ControlPlane, path: str, value: Any, says: str
) -> None:
    """So that it would have refused the chart's own words, too."""
    monitor = {"enabled": True, path: value}
    (manifest,) = theirs(helm, {"metrics": {**SECURE, "serviceMonitor": monitor}}, "default")
    strict = ("create", "--validate=strict", "--dry-run=server", "-f", "-")
    with pytest.raises(ClusterError, match=says):
        watched_cluster.kubectl(*strict, stdin=json.dumps(manifest))
