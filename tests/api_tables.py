"""The reference tables of docs/api.md, made from the CRD: one row for each field, in the CRD's own order and words.

`make generate` writes them between the markers; a unit test holds them to the CRD.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
CRD = ROOT / "crds" / "celeryworkerpools.yaml"
PARTS = ("spec", "status")
TABLE = re.compile(r"(<!-- fields of (\w+), by make generate -->\n).*?(<!-- end -->\n)", re.DOTALL)

SECRET_KEY = "secretKeyRef"
PODS_OWN = ("template.spec",)
"""What is below has the words of Kubernetes."""

Schema = dict[str, Any]


def page_with_tables(page: str) -> str:
    """The page with all tables as the CRD has them now."""
    return TABLE.sub(lambda found: f"{found[1]}{table(found[2])}{found[3]}", page)


def table(part: str) -> str:
    """The fields of spec or status."""
    [version] = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"][part]
    rows = [f"| {' | '.join(row)} |" for row in fields(schema, "")]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def fields(schema: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    """Each field with what is below it; of a list the fields of its items, marked by `[]`."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}{name}"
        required = name in schema.get("required", ())
        yield f"`{here}`", kind(field), default(field, required=required), cell(field.get("description", ""))
        if field.get("type") == "array":
            yield from fields(field["items"], f"{here}[].")
        elif here not in PODS_OWN and SECRET_KEY not in field.get("properties", {}):
            yield from fields(field, f"{here}.")


def kind(field: Schema) -> str:
    """Type and bounds in a word or two."""
    if SECRET_KEY in field.get("properties", {}):
        return f"`{SECRET_KEY}: {{name, key}}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    name = str(field.get("type", "number or text"))
    if name == "array":
        most = f", at most {field['maxItems']}" if "maxItems" in field else ""
        return f"list of {kind(field['items'])}{most}"
    if field.get("format") == "date-time":
        return "time"
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f"{name}, {low} to {high}"
    return f"{name}, from {low}" if low is not None else name


def default(field: Schema, *, required: bool) -> str:
    """The schema's default; the description tells of those that the operator supplies."""
    if "default" in field:
        text = yaml.safe_dump(field["default"], default_flow_style=True, width=1000)
        return f"`{text.splitlines()[0]}`"
    return "required" if required else ""


def cell(text: str) -> str:
    """Text that does not end a cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text()))
