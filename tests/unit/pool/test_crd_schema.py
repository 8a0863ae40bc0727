"""The CRD as a text: all of it bounded and described, and of one mind with the parser."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac.pool import refused
from celeriac.pool.model import InvalidPool
from celeriac.pool.parse import parse_pool
from celeriac.pool.template import POD_FIELDS
from tests.unit.pool.bodies import Body, dotted, minimal, nodes, replaced, variants

pytestmark = pytest.mark.unit

CRD = Path(__file__).parents[3] / "crds" / "celeryworkerpools.yaml"
APPLY_ANNOTATION_BYTES = 262_144  # of all annotations of an object, where client-side apply keeps its copy

Schema = dict[str, Any]


@cache
def version() -> Schema:
    crd = yaml.safe_load(CRD.read_text())
    (only,) = crd["spec"]["versions"]
    return dict(only)


def root() -> Schema:
    return dict(version()["schema"]["openAPIV3Schema"])


def walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema inside a schema, with its path: spec.queues[], spec.template.metadata.labels{}."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}".removeprefix("."))
    for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), Mapping):
            yield from walk(schema[key], path + suffix)


def every(kind: str | None) -> list[tuple[str, Schema]]:
    return [(path, schema) for path, schema in walk(root(), "") if schema.get("type") == kind]


def test_every_field_is_described_in_whole_sentences() -> None:
    """A full stop at the end: YAML cuts a description at an unquoted comma between braces."""
    bare = [path for path, schema in walk(root(), "") if not str(schema.get("description", "")).endswith(".")]
    assert bare == ["metadata"]


def test_every_string_is_bounded() -> None:
    assert len(every("string")) > 60
    assert [path for path, schema in every("string") if not {"maxLength", "enum"} & schema.keys()] == []


def test_every_number_is_bounded() -> None:
    numbers = every("integer") + every("number")
    assert len(numbers) > 30
    assert [path for path, schema in numbers if not {"minimum", "maximum"} <= schema.keys()] == []


def test_every_list_is_bounded_and_says_how_it_merges() -> None:
    assert len(every("array")) > 15
    assert [
        path for path, schema in every("array") if not {"maxItems", "x-kubernetes-list-type"} <= schema.keys()
    ] == []


def test_every_map_is_bounded() -> None:
    maps = [(path, schema) for path, schema in every("object") if "additionalProperties" in schema]
    assert len(maps) == 6
    assert [path for path, schema in maps if "maxProperties" not in schema] == []


def test_what_may_be_a_number_or_a_string_is_bounded_as_both() -> None:
    bounds = {"minimum", "maximum", "maxLength", "pattern", "maxItems", "maxProperties"}
    assert {path.rsplit(".", 1)[-1] for path, _ in every(None)} == {
        *("tolerance", "requests{}", "limits{}", "maxSurge", "maxUnavailable"),
    }
    assert [path for path, schema in every(None) if not bounds <= schema.keys()] == []


def test_every_rule_speaks_to_a_person() -> None:
    rules = [rule for _, schema in walk(root(), "") for rule in schema.get("x-kubernetes-validations", [])]
    assert len(rules) > 50
    assert [rule["rule"] for rule in rules if len(rule.get("message", "")) < 30] == []


def test_what_a_status_says_is_asked_last() -> None:
    """All rules of the root are asked with each write of a status: most end at their first word."""
    rules = [rule["rule"] for rule in root()["x-kubernetes-validations"] if "self.status" in rule["rule"]]
    assert len(rules) > 20
    assert [rule for rule in rules if not rule.startswith("self.spec.podSecurity != 'Restricted' || ")] == []
    assert [rule for rule in rules if " || " in rule.partition("has(self.status)")[2]] == []


def test_every_default_is_told_in_the_description() -> None:
    told = 0
    for path, schema in walk(root(), ""):
        if schema.get("default", {}) == {}:
            continue
        default = json.dumps(schema["default"]).replace('"', "").strip("[]")
        assert f"Default: {default}" in schema["description"].replace("[", ""), path
        told += 1
    assert told > 10


def test_client_side_apply_has_room_for_twice_the_size() -> None:
    assert len(json.dumps(yaml.safe_load(CRD.read_text()))) < APPLY_ANNOTATION_BYTES / 2


def test_the_template_allows_what_the_parser_allows() -> None:
    assert list(root()["properties"]["spec"]["properties"]["template"]["properties"]["spec"]["properties"]) == list(
        POD_FIELDS
    )


def defaulted(schema: Schema, value: Any) -> Any:
    """The value with the schema's defaults filled in, as the API server does."""
    if isinstance(value, list):
        return [defaulted(schema["items"], item) for item in value]
    if not isinstance(value, Mapping):
        return value
    result = dict(value)
    for name, child in schema.get("properties", {}).items():
        if name not in result and "default" in child:
            result[name] = copy.deepcopy(child["default"])
        if name in result:
            result[name] = defaulted(child, result[name])
    return result


@pytest.mark.parametrize("body", [minimal(), *variants()], ids=["minimal", "full", "custom", "sentinel"])
def test_the_parser_and_the_schema_have_the_same_defaults(body: Body) -> None:
    filled = defaulted(root(), body)
    assert filled["spec"]["queues"]
    assert parse_pool(filled) == parse_pool(body)


def schema_at(path: tuple[str | int, ...]) -> Schema:
    schema = root()
    for step in path:
        schema = schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {}).get(step, {})
    return schema


@pytest.mark.parametrize("body", variants(), ids=["full", "custom", "sentinel"])
def test_the_parser_and_the_schema_have_the_same_bounds(body: Body) -> None:
    checked = 0
    for path, value in nodes(body["spec"], ("spec",)):
        schema = schema_at(path)
        if schema.get("type") not in {"integer", "number"} or "template" in path:
            continue
        for bound, beyond in ((schema["minimum"], -1), (schema["maximum"], 1)):
            assert f"{schema['minimum']} and" in refusal(replaced(body, path, bound + beyond), dotted(path)), value
            assert "must be between" not in refusal(replaced(body, path, bound), dotted(path))
            checked += 1
    assert checked > 0


def refusal(body: Body, field: str) -> str:
    """What the parser has against this field; nothing if it is content, or takes offence elsewhere."""
    try:
        parse_pool(body)
    except InvalidPool as error:
        return str(error) if error.field == field and "Replicas (" not in str(error) else ""
    return ""


@pytest.mark.parametrize(
    "path",
    ["spec.pool", "spec.agent", "spec.podSecurity", "spec.scaling.mode", "spec.worker.logLevel", "spec.strategy.type"],
)
def test_the_parser_takes_every_word_that_the_schema_offers(path: str) -> None:
    *parents, name = path.split(".")[1:]
    words = schema_at(tuple(path.split(".")))["enum"]
    for word in words:
        spec: Body = {name: word}
        for parent in parents:
            spec = {parent: spec}
        custom = {"customPool": "my.pool:TaskPool"} if word == "custom" else {}
        parse_pool(minimal(**spec, **custom))
    assert len(words) > 1


def test_the_printer_columns_point_at_fields_that_exist() -> None:
    paths = [column["jsonPath"].split("[")[0].removeprefix(".") for column in version()["additionalPrinterColumns"]]
    own = [path for path in paths if not path.startswith("metadata.")]
    assert [path for path in own if not schema_at(tuple(path.split(".")))] == []
    assert len(own) > 10


def messages(schema: Schema, *path: str) -> set[str]:
    """What the rules of one schema and of all inside it tell their owner."""
    for step in path:
        schema = schema["properties"][step]
    return {rule["message"] for _, each in walk(schema, "") for rule in each.get("x-kubernetes-validations", [])}


def test_the_parser_refuses_what_is_the_operators_own_in_the_words_of_the_schema() -> None:
    spec = root()["properties"]["spec"]
    rules = [*refused.ARGUMENTS, *refused.LABELS, *(rule for *_, rules in refused.NAMES for rule in rules)]
    own = {message for _, message in rules} | set(refused.RESTART_POLICIES.values())
    theirs = messages(spec, "worker", "extraArgs") | messages(spec, "template")
    assert {message for message in theirs if not any(message.endswith(each) for each in own)} == set()
    assert {each for each in own if not any(message.endswith(each) for message in theirs)} == set()


def test_the_parser_and_the_schema_refuse_the_same_arguments() -> None:
    schema = root()["properties"]["spec"]["properties"]["worker"]["properties"]["extraArgs"]["items"]
    rules = {rule["message"].removeprefix("extraArgs "): rule["rule"] for rule in schema["x-kubernetes-validations"]}
    for pattern, message in refused.ARGUMENTS:
        assert rules.pop(message) in (f"!self.matches('{pattern}')", f"self != '{pattern.strip('^$')}'")
    assert rules == {}


def test_the_parser_refuses_ignored_options_in_the_words_of_the_schema() -> None:
    rules = {rule["message"]: rule["rule"] for rule in root()["properties"]["spec"]["x-kubernetes-validations"]}
    for name, (pool_types, message) in refused.IGNORED.items():
        rule = rules[f"worker.{name} {message}"]
        assert set(re.findall(r"'(\w+)'", rule)) == set(pool_types)
