"""The table of values in the chart's README, made from values.yaml and its schema as helm-docs has it; and its icon.

`make generate` writes the table between the markers, and icon.svg into Chart.yaml; a unit test holds them together.
"""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).parents[1] / "charts" / "celeriac"
PAGE = CHART / "README.md"
CHART_YAML = CHART / "Chart.yaml"
TABLE = re.compile(r"(<!-- values, by make generate -->\n).*?(<!-- end -->\n)", re.DOTALL)
WHOLE = ("resources",)
"""Objects that are one value for whoever sets them, although the schema knows what is in them."""

Schema = dict[str, Any]


class Value(NamedTuple):
    """One that is set as a whole: `metrics.tls.secretName`."""

    path: str
    kind: str
    default: Any
    meaning: str


def page_with_table(page: str) -> str:
    """The page with the table as the chart has it now."""
    rows = [
        f"| `{each.path}` | {each.kind} | `{json.dumps(each.default)}` | {each.meaning} |" for each in chart_values()
    ]
    table = "\n".join(["| Key | Type | Default | Description |", "|---|---|---|---|", *rows])
    return TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page)


def chart_values() -> list[Value]:
    """In the order of values.yaml."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    return list(_leaves(values, json.loads((CHART / "values.schema.json").read_text()), ""))


def _leaves(values: dict[str, Any], schema: Schema, path: str) -> Iterator[Value]:
    for name, value in values.items():
        described = schema["properties"][name]
        if "properties" in described and name not in WHOLE:
            yield from _leaves(value, described, f"{path}{name}.")
        else:
            yield Value(f"{path}{name}", _kind(described), value, described["description"])


def _kind(schema: Schema) -> str:
    if "oneOf" in schema:
        return " or ".join(dict.fromkeys(_kind(each) for each in schema["oneOf"] if each["type"] != "null"))
    if schema["type"] == "array":
        item = schema["items"]["type"]
        return f"list of {' or '.join([item] if isinstance(item, str) else item)}"
    return str(schema["type"])


def chart_with_icon(text: str) -> str:
    """Chart.yaml with the icon in it: the chart needs no server that holds it."""
    data = base64.b64encode((CHART / "icon.svg").read_bytes()).decode()
    return re.sub(r"^icon: .*$", f"icon: data:image/svg+xml;base64,{data}", text, flags=re.MULTILINE)


def main() -> None:
    """Write both."""
    PAGE.write_text(page_with_table(PAGE.read_text()))
    CHART_YAML.write_text(chart_with_icon(CHART_YAML.read_text()))


if __name__ == "__main__":
    main()
