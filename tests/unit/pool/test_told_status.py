"""What stands in a status is believed only where the operator could have written it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.autoscaling.pool_scaler import Seed
from celeriac.cli.findings import of_the_pools
from celeriac.cli.words import explanation, pools_table
from celeriac.pool.told_status import told_status
from celeriac.reporting.status_book import Budget, StatusBook
from celeriac.reporting.view import View
from celeriac.watching.store import KnownPool
from tests.unit.pool.bodies import minimal

pytestmark = pytest.mark.unit

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CRD = Path(__file__).parents[3] / "crds" / "celeryworkerpools.yaml"
SCHEMA: dict[str, Any] = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
STATUS: dict[str, Any] = SCHEMA["properties"]["status"]

HUGE = 10**400
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(HUGE) | st.text() | st.just("x" * 70_000),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=8,
)


def deep(levels: int = 5000) -> dict[str, Any]:
    """An object in an object in an object."""
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


def valid(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the CRD's schema lets pass."""
    kind = schema["type"]
    if kind == "object":
        required = schema.get("required", ())
        fields = {name: valid(child) for name, child in schema["properties"].items()}
        optional = {name: each for name, each in fields.items() if name not in required}
        return st.fixed_dictionaries({name: fields[name] for name in required}, optional=optional)
    if kind == "array":
        key = (lambda each: each["type"]) if schema.get("x-kubernetes-list-type") == "map" else None
        return st.lists(valid(schema["items"]), max_size=3, min_size=schema.get("minItems", 0), unique_by=key)
    if kind == "string" and schema.get("format") == "date-time":
        return st.datetimes(min_value=datetime(1000, 1, 1)).map(lambda each: each.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if kind == "string":
        words = schema.get("enum")
        return st.sampled_from(words) if words else st.text(min_size=schema.get("minLength", 0), max_size=16)
    numbers = st.integers if kind == "integer" else st.floats
    return numbers(min_value=schema["minimum"], max_value=schema["maximum"])


def garbage(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Anything at all, or what the schema asks for with anything at all in place of some of its fields."""
    if schema["type"] == "object":
        fields = {name: garbage(child) | valid(child) for name, child in schema["properties"].items()}
        return JSON | st.fixed_dictionaries({}, optional={**fields, "unknown": JSON})
    if schema["type"] == "array":
        return JSON | st.lists(garbage(schema["items"]), max_size=4)
    return JSON


def known(status: Any) -> KnownPool:
    metadata = {"namespace": "team", "name": "ml", "uid": "1", "generation": 1}
    return KnownPool.from_body({**minimal(), "metadata": metadata, "status": status})


def live_through(status: Any) -> KnownPool:
    """All who read a status: a new leader, whoever writes it anew, and the command line."""
    pool = known(status)
    Seed.of(pool.status)
    step = StatusBook(Budget(10), 60).step(View(pool), NOW, 0.0)
    assert step.write or step.status == pool.status
    json.dumps(step.status, allow_nan=False)
    body = minimal()
    body |= {"metadata": {"namespace": "team", "name": "ml", "generation": 1}, "status": status}
    body["spec"] |= {"pool": "solo"}
    list(explanation(body, NOW))
    list(of_the_pools([body], None, NOW))
    pools_table([body], NOW, with_namespace=True)
    return pool


@settings(deadline=None)  # the first example pays for what is loaded, beside other tests
@given(valid(STATUS))
def test_what_the_schema_lets_pass_is_read_and_survives_whoever_reads_it(status: dict[str, Any]) -> None:
    live_through(status)


@given(garbage(STATUS))
def test_whatever_stands_in_a_status_nobody_fails_on_it(status: Any) -> None:
    live_through(status)


@pytest.mark.parametrize("name", sorted(STATUS["properties"]))
@pytest.mark.parametrize("value", [None, True, -2, HUGE, float("nan"), "no", [], [deep()], {}, deep(), "x" * 10**6])
def test_each_field_of_another_type_is_left_out_and_the_whole_is_known_to_be_somebody_elses(
    name: str, value: Any
) -> None:
    pool = live_through({"replicas": 3, name: value})
    if name != "replicas":
        assert pool.status["replicas"] == 3, "the others stand"
    if name != "conditions" or value != []:
        assert name not in pool.status or pool.status[name] in ("no", [])
    if name not in ("conditions", "selector"):
        assert not pool.status_whole


def test_a_status_of_the_operators_own_is_believed_to_the_last_field() -> None:
    status = StatusBook(Budget(10), 60).step(View(known(None)), NOW, 0.0).status
    assert told_status(status) == (status, True)
    assert told_status(json.loads(json.dumps(status))) == (status, True)


def test_a_condition_that_is_not_whole_or_there_twice_is_left_out() -> None:
    one = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
    one["lastTransitionTime"] = "2030-01-01T00:00:00Z"
    without = [{name: value for name, value in one.items() if name != left} for left in one]
    told, whole = told_status({"conditions": [*without, one, {**one, "status": "False"}, 7]})
    assert (told["conditions"], whole) == ([one], False)


def test_times_are_read_as_an_api_server_takes_them() -> None:
    assert told_status({"idleSince": "2030-01-01t00:00:00z"}) == ({"idleSince": "2030-01-01T00:00:00Z"}, True)
    for odd in ("2030-01-01T00:00:00", "0000-01-01T00:00:00Z", "2030-01-01T00:00:60Z", "soon"):
        assert told_status({"idleSince": odd}) == ({}, False)


def test_a_moment_far_off_is_no_error() -> None:
    for moment in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        told = {"idleSince": moment, "decision": {"reason": "Idle", "message": "", "time": moment}}
        assert live_through(told).status == told
