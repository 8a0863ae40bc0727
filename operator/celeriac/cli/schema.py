"""A pool against the schema of the CustomResourceDefinition: what the API server refuses before any operator sees it.

Only what is plain data in the schema: types, fields, bounds, patterns, words, repeated entries. Its CEL rules are those
of celeriac.pool, in Python.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import click
import yaml

from celeriac.pool.fields import kind, unknown_field
from celeriac.pool.misplaced import ELSEWHERE
from celeriac.pool.model import InvalidPool

Schema = Mapping[str, Any]

FILE: Final = "crds/celeryworkerpools.yaml"
REQUESTS_FILE: Final = "crds/celerypoolrequests.yaml"
"""In the package where it is installed (pyproject.toml puts it there), at the top of a checkout otherwise."""

TYPES: Final[Mapping[str, tuple[str, tuple[type, ...]]]] = {
    "object": ("an object", (dict,)),
    "array": ("a list", (list,)),
    "string": ("a string", (str,)),
    "boolean": ("true or false", (bool,)),
    "integer": ("an integer", (int,)),
    "number": ("a number", (int, float)),
}


def pool_schema() -> Schema:
    """The schema of a CeleryWorkerPool. Raises click.ClickException where the installation lacks the file."""
    return _schema(FILE)


def request_schema() -> Schema:
    """The schema of a CeleryPoolRequest, likewise."""
    return _schema(REQUESTS_FILE)


@cache
def _schema(file: str) -> Schema:
    places = (resources.files("celeriac") / file, Path(__file__).parents[3] / file)
    place = next((each for each in places if each.is_file()), None)
    if place is None:
        raise click.ClickException(f"{file} is missing from this installation: install celeriac anew")
    (version,) = yaml.safe_load(place.read_text(encoding="utf-8"))["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def schema_problems(body: Mapping[str, Any]) -> Iterator[InvalidPool]:
    """All that the schema has against a pool; its status aside, which is not the user's."""
    yield from _walk("", {name: value for name, value in body.items() if name != "status"}, pool_schema())


def _walk(path: str, value: Any, schema: Schema) -> Iterator[InvalidPool]:
    wanted = schema.get("type")
    if wanted is not None and not _is(value, wanted):
        yield InvalidPool(path, f"must be {TYPES[wanted][0]}, not {kind(value)}")
    elif isinstance(value, dict):
        yield from _object(path, value, schema)
    elif isinstance(value, list):
        yield from _list(path, value, schema)
    elif isinstance(value, str):
        yield from _text(path, value, schema)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(path, value, schema)


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, TYPES[wanted][1])


def _object(path: str, value: dict[Any, Any], schema: Schema) -> Iterator[InvalidPool]:
    if not all(isinstance(name, str) for name in value):
        yield InvalidPool(path, "must have strings for keys: quote them")
        return
    present = {name: child for name, child in value.items() if child is not None}  # the API server drops nulls, too
    fields, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in present:
            yield InvalidPool(_at(path, name), "is missing: set it")
    yield from _size(path, len(present), schema, "Properties", "entries")
    for name, child in present.items():
        if name in fields:
            yield from _walk(_at(path, name), child, fields[name])
        elif others:
            yield from _walk(f"{path}[{name}]", child, others)
        elif fields and not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield unknown_field(path, name, fields, _elsewhere(path, name))


def _elsewhere(path: str, name: str) -> str | None:
    """Where a field belongs that is known, but not at this place; inside of a list nobody knows what was meant."""
    if "[" in path:
        return None
    if not path.startswith("spec"):
        return f"set spec.{name}" if name in _fields_of_spec() else None
    place = _places().get(name)
    if place is not None:
        return f"set {place}.{name}"
    return ELSEWHERE.get(name)


@cache
def _fields_of_spec() -> frozenset[str]:
    return frozenset(pool_schema()["properties"]["spec"]["properties"])


@cache
def _places() -> Mapping[str, str]:
    """Each field of spec by its name: the path of the object that has it, of several the one that lies highest."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, name in _fields_below("spec", pool_schema()["properties"]["spec"]):
        found[name].append(path)
    highest = {name: min(path.count(".") for path in paths) for name, paths in found.items()}
    ours = {name: [path for path in paths if path.count(".") == highest[name]] for name, paths in found.items()}
    return {name: paths[0] for name, paths in ours.items() if len(paths) == 1}


def _fields_below(path: str, schema: Schema) -> Iterator[tuple[str, str]]:
    for name, child in schema.get("properties", {}).items():
        yield path, name
        yield from _fields_below(f"{path}.{name}", child)


def _list(path: str, value: list[Any], schema: Schema) -> Iterator[InvalidPool]:
    yield from _size(path, len(value), schema, "Items", "entries")
    keys = schema.get("x-kubernetes-list-map-keys")
    unique = keys or schema.get("x-kubernetes-list-type") == "set"
    seen: list[Any] = []
    for index, item in enumerate(value):
        place = f"{path}[{index}]"
        yield from _walk(place, item, schema.get("items", {}))
        identity = [item.get(key) for key in keys] if keys and isinstance(item, dict) else item
        if unique and identity in seen:
            yield InvalidPool(place, f"has the {' and '.join(keys)} of another entry" if keys else "is there already")
        seen.append(identity)


def _text(path: str, value: str, schema: Schema) -> Iterator[InvalidPool]:
    yield from _size(path, len(value), schema, "Length", "characters")
    if value not in schema.get("enum", (value,)):
        yield InvalidPool(path, f"must be one of {', '.join(schema['enum'])}")
    if re.search(schema.get("pattern", ""), value, re.ASCII) is None:
        yield InvalidPool(path, f"is not of the form that is needed. {schema['description']}")


def _number(path: str, value: float, schema: Schema) -> Iterator[InvalidPool]:
    if value < schema.get("minimum", value):
        yield InvalidPool(path, f"must be at least {schema['minimum']}")
    if value > schema.get("maximum", value):
        yield InvalidPool(path, f"must be at most {schema['maximum']}")


def _size(path: str, size: int, schema: Schema, what: str, unit: str) -> Iterator[InvalidPool]:
    """The bounds minLength and maxLength, minItems and maxItems, maxProperties: inclusive, in `unit`."""
    least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}", size)
    if size < least:
        yield InvalidPool(path, f"must have at least {least} {unit}, not {size}")
    if size > most:
        yield InvalidPool(path, f"must have at most {most} {unit}, not {size}")


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
