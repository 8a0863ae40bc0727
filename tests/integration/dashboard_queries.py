"""What Grafana asks Prometheus for a dashboard, with each choice of its variables."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.integration.helm import CHART

DASHBOARDS = CHART / "dashboards"
RATE_INTERVAL = "5s"
ALL = {"cluster": ".*", "job": ".+", "instance": ".+", "namespace": ".+", "pool": ".+"}


def dashboards() -> dict[str, dict[str, Any]]:
    """Each by the name of its file."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(DASHBOARDS.glob("*.json"))}


@dataclass(frozen=True)
class Asked:
    """One expression of a dashboard: of a panel, of an annotation, or the series of a variable."""

    dashboard: str
    title: str
    expression: str

    def with_choice(self, choice: Mapping[str, str], rate_interval: str = RATE_INTERVAL) -> str:
        """What Grafana sends with these choices; All where there is none."""
        text = self.expression.replace("$__rate_interval", rate_interval)
        for variable, value in (ALL | dict(choice)).items():
            text = text.replace(f"${variable}", value)
        assert "$" not in text, text
        return text


def asked() -> Iterator[Asked]:
    """Everything that the dashboards ask."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield Asked(name, panel["title"], target["expr"])
        for each in dashboard["annotations"]["list"]:
            yield Asked(name, f"annotation {each['name']}", each["expr"])
        for variable in dashboard["templating"]["list"]:
            if match := re.fullmatch(r"label_values\((.*), \w+\)", variable.get("definition", "")):
                yield Asked(name, f"variable {variable['name']}", match.group(1))


def choices(
    dashboard: str, values: Mapping[str, Sequence[str]], pools: Sequence[tuple[str, str]]
) -> Iterator[dict[str, str]]:
    """All, and each value of each variable: of cluster, job and instance by itself, of pools with their namespaces.

    One pool is always chosen where the dashboard is that of a pool.
    """
    chosen = [{"namespace": namespace, "pool": pool} for namespace, pool in pools]
    first = chosen[0] if dashboard == "pool" else {}
    yield first
    names = ("cluster", "job", "instance") if dashboard == "operator" else ("cluster", "job")
    yield from (first | {name: value} for name in names for value in values[name])
    if dashboard != "operator":
        yield from chosen
    if dashboard == "fleet":
        yield from ({"namespace": namespace} for namespace in {namespace for namespace, _ in pools})
        yield {
            name: "|".join(sorted(set(each)))
            for name, each in zip(("namespace", "pool"), zip(*pools, strict=True), strict=True)
        }
