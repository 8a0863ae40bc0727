"""What the chart says to Prometheus and to Grafana, by its values."""

import subprocess
from typing import Any

import yaml

from tests.cluster import tools
from tests.integration.helm import CHART, IMAGE, RELEASE


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    """The PrometheusRule of the chart."""
    asked = {**values, "prometheusRule": {"enabled": True, **values.get("prometheusRule", {})}}
    return template(asked, "prometheusrule")


def template(values: dict[str, Any], name: str) -> dict[str, Any]:
    """One object of the chart. Helm needs no cluster for it."""
    command = [str(tools.binary("helm")), "template", RELEASE, str(CHART), "--kube-version=1.34.4", "--values", "-"]
    command += ["--namespace=celeriac", f"--show-only=templates/{name}.yaml"]
    done = subprocess.run(command, input=yaml.safe_dump(IMAGE | values), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def boards(values: dict[str, Any]) -> dict[str, str]:
    """The dashboards of the chart, by the names of their files."""
    config_map: dict[str, dict[str, str]] = template(values, "dashboards")
    return config_map["data"]


def alerts(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}
