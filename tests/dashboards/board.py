"""A dashboard: its place among the others, its variables, its annotations, its panels in a grid."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.dashboards.panels import DATASOURCE, Json

COLUMNS: Final = 24
TAG: Final = "celeriac"
LABELS: Final = "cluster, namespace, pool"
"""What names a pool. Twins in two namespaces, or clusters, are two pools."""
OPERATOR: Final = 'cluster=~"$cluster", job=~"$job"'
POOLS: Final = f'{OPERATOR}, namespace=~"$namespace", pool=~"$pool"'
POOL_BOARD: Final = "celeriac-pool"
TRUE: Final = 'status="True"'
FALSE: Final = 'status="False"'
UNKNOWN: Final = 'status="Unknown"'
FAILED: Final = 'state="failed"'
ENDED: Final = 'state=~"succeeded|failed"'


def of_pools(metric: str, *more: str) -> str:
    """A metric of pools, by the variables."""
    return f"celeriac_{metric}{{{', '.join((POOLS, *more))}}}"


def most(metric: str, *more: str, by: str = LABELS) -> str:
    """A gauge of pools, of whichever replica leads."""
    return f"max by ({by}) ({of_pools(metric, *more)})"


def of_operator(metric: str, *more: str) -> str:
    """A metric of the operator's own, by the variables."""
    return f"celeriac_{metric}{{{', '.join((OPERATOR, *more))}}}"


def pool_link(namespace: str, pool: str) -> Json:
    """From a row or a series to the dashboard of its pool; the arguments are Grafana's words for its labels."""
    kept = "var-datasource=${datasource}&${cluster:queryparam}&${job:queryparam}&${__url_time_range}"
    url = f"/d/{POOL_BOARD}?var-namespace={namespace}&var-pool={pool}&{kept}"
    return {"title": "The pool", "url": url, "targetBlank": False}


def variable(name: str, label: str, query: str, *, single: bool = False, all_value: str = ".+") -> Json:
    """A variable with the values of a label; `single`: one of them, and never all."""
    every = {} if single else {"allValue": all_value}
    chosen = {} if single else {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"Variable-{name}", "qryType": 1},
        "refresh": 2,
        "sort": 1,
        "multi": not single,
        "includeAll": not single,
        "current": chosen,
        "options": [],
        "hide": 0,
        "regex": "",
        **every,
    }


SOURCE: Final[Json] = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "refresh": 1,
    "regex": "",
}
# A Prometheus of one cluster has no such label: All is then the only choice, and asks for nothing.
CLUSTER: Final = variable("cluster", "Cluster", "label_values(celeriac_leader, cluster)", all_value=".*")
JOB: Final = variable("job", "Job", 'label_values(celeriac_leader{cluster=~"$cluster"}, job)')
KNOWN: Final = f'celeriac_pool_condition{{{OPERATOR}, type="Ready"}}'
NAMESPACE: Final = variable("namespace", "Namespace", f"label_values({KNOWN}, namespace)")
OF_NAMESPACE: Final = KNOWN.replace("}", ', namespace=~"$namespace"}')
POOL: Final = variable("pool", "Pool", f"label_values({OF_NAMESPACE}, pool)")
ONE_NAMESPACE: Final = variable("namespace", "Namespace", f"label_values({KNOWN}, namespace)", single=True)
ONE_POOL: Final = variable("pool", "Pool", f"label_values({OF_NAMESPACE}, pool)", single=True)
INSTANCE: Final = variable("instance", "Instance", f"label_values(celeriac_leader{{{OPERATOR}}}, instance)")


def annotation(name: str, color: str, expr: str, title: str, text: str) -> Json:
    """Moments at which an expression has a value."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": "15s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": "namespace,pool",
    }


def row(title: str) -> Json:
    """A line that begins a part."""
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def line(height: int, *panels: Json) -> tuple[int, list[tuple[int, Json]]]:
    """Panels beside each other, all of one width."""
    return height, [(COLUMNS // len(panels), panel) for panel in panels]


def laid_out(lines: Sequence[Json | tuple[int, Sequence[tuple[int, Json]]]]) -> Iterator[Json]:
    """The panels with their places: each line is a row, or a height and panels with their widths."""
    y, number = 0, 1
    for each in lines:
        height, panels = (1, [(COLUMNS, each)]) if isinstance(each, dict) else each
        x = 0
        for width, panel in panels:
            yield {"id": number, **panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}}
            x, number = x + width, number + 1
        y += height


def board(
    uid: str,
    title: str,
    text: str,
    variables: Sequence[Json],
    lines: Sequence[Any],
    annotations: Sequence[Json] = (),
    *,
    refresh: str = "10s",
) -> Json:
    """A whole dashboard, with links to the others of ours that keep the time and the variables."""
    links = {
        "type": "dashboards",
        "title": "Celeriac",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }
    return {
        "uid": uid,
        "title": title,
        "description": text,
        "tags": [TAG, "celery", "kubernetes"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": refresh,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [links],
        "annotations": {"list": list(annotations)},
        "templating": {"list": [SOURCE, *variables]},
        "panels": list(laid_out(lines)),
    }
