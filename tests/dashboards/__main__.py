"""Write the dashboards of the chart anew."""

import json
from pathlib import Path

from tests.dashboards.fleet import fleet
from tests.dashboards.operator import operator
from tests.dashboards.panels import Json
from tests.dashboards.pool import pool

FOLDER = Path(__file__).parents[2] / "charts" / "celeriac" / "dashboards"


def dashboards() -> dict[str, Json]:
    """Each by the name of its file."""
    return {"fleet.json": fleet(), "pool.json": pool(), "operator.json": operator()}


def text(dashboard: Json) -> str:
    """As it is written."""
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, dashboard in dashboards().items():
        (FOLDER / name).write_text(text(dashboard))
