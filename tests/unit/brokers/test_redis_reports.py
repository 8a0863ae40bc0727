"""Anybody may write to Redis: what an agent did not write is never taken for a report or a registration."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.brokers.agents import Process
from celeriac.brokers.redis.json_fields import WrongField
from celeriac.brokers.redis.registration import heard_of, pool_key_of, pool_uid_of, process_of
from celeriac.brokers.redis.worker_reports import STATES, Reports, report_of
from celeriac.pool.model import QueueLayout

pytestmark = pytest.mark.unit

REPORT: dict[str, Any] = {
    "v": 1,
    "n": 12,
    "process": "ml-1.0a1b2c3d",
    "pod": "ml-1",
    "state": "draining",
    "token": "a-token",
    "active": 2,
    "reserved": 1,
    "scheduled": 4,
    "unacked": 7,
    "processed": 17,
    "busy": 41.5,
    "slots": 4,
    "celery": "5.7.0",
    "kombu": "5.7.0",
    "redis": "6.2.0",
    "python": "3.11.2",
    "level": "inflight",
    "pool": "celery.concurrency.prefork:TaskPool",
    "broker": "redis://redis:6379/0",
    "prefix": "shop:",
    "queues": ["mail", "ml"],
    "prefetch": 0,
    "acksLate": False,
    "separator": ":",
    "prioritySteps": [0, 5],
    "timeLimit": 60.0,
    "visibilityTimeout": 3600,
    "capabilities": ["inflight", "drain"],
    "missing": ["exact"],
    "signals": None,
    "givenBack": 1,
    "restored": 2,
    "dead": 3,
    "errors": 4,
}

FOR_PEOPLE = {
    *("pod", "unacked", "broker", "prefix", "prefetch", "visibilityTimeout"),
    *("givenBack", "restored", "dead"),
}
"""What the operator does not read of a report, whoever wrote it."""

IF_SAID = {"acksLate": "acks_late", "separator": "layout", "prioritySteps": "layout", "timeLimit": "time_limit"}
"""What is not known where a report does not say it, or says what it cannot be; the rest of it holds."""

VERSIONS = {"celery": "Celery", "kombu": "kombu", "redis": "redis-py", "python": "Python"}

REGISTRATION: dict[str, Any] = {
    "pod": "ml-1",
    "podUid": "pod-uid",
    "namespace": "shop",
    "pool": "ml",
    "poolUid": "pool-uid",
    "started": 1_700_000_000.25,
    "unacked": "unacked.ml-1.0a1b2c3d",
    "index": "unacked_index.ml-1.0a1b2c3d",
    "mutex": "unacked_mutex.ml-1.0a1b2c3d",
    "separator": "\x06\x16",
    "prioritySteps": [0, 3, 6, 9],
    "queues": ["mail"],
    "visibilityTimeout": 3600,
    "maxAttempts": 5,
}

WRONG: tuple[Any, ...] = (None, True, -1, 1.5, "text", [1], ["text"], {}, float("inf"), 10**400)


def text(values: Any) -> bytes:
    return json.dumps(values).encode()


def read(values: Any) -> Any:
    return report_of("pod-uid", text(values))


def register(values: Any, name: bytes = b"ml-1.0a1b2c3d") -> Process:
    return process_of("shop:", "pool-uid", name, text(values))


def refused(values: Any, name: bytes = b"ml-1.0a1b2c3d") -> str:
    """Why a registration is not believed."""
    with pytest.raises(WrongField) as raised:
        register(values, name)
    return str(raised.value)


def test_a_report_is_read_field_by_field() -> None:
    report = read(REPORT)
    assert report is not None
    assert (report.pod_uid, report.process, report.counter, report.state) == (
        "pod-uid",
        "ml-1.0a1b2c3d",
        12,
        "draining",
    )
    assert (report.active, report.reserved, report.scheduled) == (2, 1, 4)
    assert (report.busy_seconds, report.queues, report.errors) == (41.5, ("mail", "ml"), 4)
    assert (report.capabilities, report.missing, report.signals) == ({"inflight", "drain"}, ("exact",), None)


def test_what_is_told_to_people_of_a_worker_and_its_place_is_read_where_it_looks_like_that() -> None:
    whole, plain = read({**REPORT, "init": "tini", "refused": ["HGET", "~shop:unacked*"]}), read(REPORT)
    assert whole is not None
    assert plain is not None
    assert (whole.init, whole.refused) == ("tini", ("HGET", "~shop:unacked*"))
    assert (plain.init, plain.refused) == ("", ())
    assert read({**REPORT, "init": 1, "refused": "HGET"}) == plain
    odd = read({**REPORT, "refused": ["HGET", "get", "~", "~a b", "~" + "x" * 99, "EVAL\n"]})
    assert odd is not None
    assert odd.refused == ("HGET",)


def test_fields_of_a_younger_agent_do_no_harm_and_its_protocol_is_not_guessed() -> None:
    assert read({**REPORT, "new": {"field": 1}}) == read(REPORT)
    assert read({**REPORT, "v": 2}) is None
    assert read({**REPORT, "state": "dreaming"}) is None
    assert all(read({**REPORT, "state": state}) for state in STATES)


@pytest.mark.parametrize(
    "field", [name for name in REPORT if name not in FOR_PEOPLE | IF_SAID.keys() | VERSIONS.keys() | {"level"}]
)
def test_a_report_that_lacks_a_field_or_has_one_of_another_type_is_missing(field: str) -> None:
    assert read({name: value for name, value in REPORT.items() if name != field}) is None
    kind = type(REPORT[field])
    nullable = field in {"token", "signals"}
    for wrong in WRONG:
        fits = isinstance(wrong, kind) or (wrong is None and nullable) or (field == "signals" and wrong is True)
        if not fits and not (kind is float and wrong == 1.5):
            assert read({**REPORT, field: wrong}) is None, (field, wrong)


@pytest.mark.parametrize("field", VERSIONS)
def test_versions_are_told_unless_they_look_like_something_else(field: str) -> None:
    whole = read(REPORT)
    assert whole is not None
    assert whole.versions == (("Celery", "5.7.0"), ("kombu", "5.7.0"), ("redis-py", "6.2.0"), ("Python", "3.11.2"))
    without = replace(whole, versions=tuple(each for each in whole.versions if each[0] != VERSIONS[field]))
    for wrong in (None, 5, "", "latest", "5.7.0\n", "5" * 40, "5.7 <b>"):
        assert read({**REPORT, field: wrong}) == without


@pytest.mark.parametrize("wrong", [None, 5, {}, []])
def test_an_agent_that_says_no_level_is_one_of_before_there_were_levels(wrong: Any) -> None:
    whole, odd = read(REPORT), read({**REPORT, "level": wrong})
    assert whole is not None
    assert odd is not None
    assert (whole.level, odd.level) == ("inflight", "drain")


@pytest.mark.parametrize(("field", "attribute"), IF_SAID.items())
def test_what_is_compared_with_the_spec_is_unknown_where_it_is_odd(field: str, attribute: str) -> None:
    whole = read(REPORT)
    assert whole is not None
    assert (whole.layout, whole.time_limit, whole.acks_late) == (
        QueueLayout(separator=":", priority_steps=(0, 5)),
        60.0,
        False,
    )
    without = replace(whole, **{attribute: None})
    assert read({name: value for name, value in REPORT.items() if name != field}) == without
    odd: tuple[Any, ...] = ({}, [True], [["x"]], "\ud800", float("inf"), 10**400)
    for wrong in odd:
        assert read({**REPORT, field: wrong}) == without, wrong


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(text))
def test_whatever_stands_there_raises_nothing(value: bytes) -> None:
    assert Reports().read({"pod-uid": value, "away": None}) == {}
    assert heard_of({"pod-uid": value}).of(register(REGISTRATION)) is not None
    for wrong in (value, text([]), b"\xff"):
        with pytest.raises(WrongField):
            process_of("", "pool-uid", b"ml-1.0a1b2c3d", wrong)
        with pytest.raises(WrongField):
            pool_key_of(wrong)


@pytest.mark.parametrize("field", sorted(FOR_PEOPLE))
def test_what_the_operator_does_not_read_is_nobodys_reason_to_drop_a_report(field: str) -> None:
    assert read({**REPORT, field: {"any": "thing"}}) == read(REPORT)


def test_a_report_of_megabytes_is_not_read() -> None:
    assert read({**REPORT, "missing": ["x" * 100_000]}) is None


def test_a_registration_is_read_field_by_field() -> None:
    process = register(REGISTRATION)
    assert (process.process, process.registry, process.started) == ("ml-1.0a1b2c3d", "shop:", 1_700_000_000.25)
    assert (process.layout, process.max_attempts) == (QueueLayout("shop:"), 5)
    assert process.held_in == tuple(REGISTRATION[name] for name in ("unacked", "index", "mutex"))


@pytest.mark.parametrize("endless", [None, math.inf])
def test_an_application_whose_visibility_timeout_never_ends_is_registered(endless: float | None) -> None:
    assert register({**REGISTRATION, "visibilityTimeout": endless}).visibility_timeout == math.inf


@pytest.mark.parametrize("field", [name for name in REGISTRATION if name != "queues"])
def test_a_registration_that_lacks_a_field_says_which(field: str) -> None:
    assert refused({name: value for name, value in REGISTRATION.items() if name != field}) == f"field {field}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"unacked": "sessions"},
        {"unacked": "unacked"},
        {"index": "unacked.ml-1.0a1b2c3d"},
        {"mutex": "unacked_mutex.another.0a1b2c3d"},
        {"poolUid": "another"},
        {"prioritySteps": [0, -3]},
        {"prioritySteps": [True]},
        {"started": float("nan")},
    ],
)
def test_a_registration_never_points_at_keys_that_are_not_its_own(wrong: dict[str, Any]) -> None:
    """What stands under them is moved and deleted once the process is gone."""
    assert refused({**REGISTRATION, **wrong})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"namespace": "shop/../kube-system"}, "namespace is no DNS label"),
        ({"namespace": "shop.kube-system"}, "namespace is no DNS label"),
        ({"namespace": ""}, "namespace is no DNS label"),
        ({"namespace": "x" * 64}, "namespace is no DNS label"),
        ({"pool": ".."}, "pool is no DNS name"),
        ({"pool": "ml\x1b[2J"}, "pool is no DNS name"),
        ({"pod": "../../secrets/broker"}, "pod is no DNS name"),
        ({"pod": "x" * 254}, "pod is no DNS name"),
        ({"podUid": "a\nb"}, "field podUid is no uid"),
        ({"separator": ""}, "field separator is empty"),
        ({"separator": "\ud800"}, "field separator"),
        ({"pod": "ml-2"}, "its name is not that of its pod, a dot and a word"),
    ],
)
def test_a_name_that_is_none_reaches_neither_the_api_server_nor_a_log(wrong: dict[str, Any], why: str) -> None:
    assert refused({**REGISTRATION, **wrong}) == why


@pytest.mark.parametrize("name", [b"ml-1.", b"ml-1.0a1b2c3d\n", b"ml-1./", b"\xff.0a1b2c3d", b"ml-1"])
def test_nor_does_the_name_of_a_process(name: bytes) -> None:
    ours = {key: f"{key}.{name.decode(errors='replace')}" for key in ("unacked", "index", "mutex")}
    assert refused({**REGISTRATION, **ours}, name)


@pytest.mark.parametrize("name", [b"", b"dead", b"a:processes", b"\xff", b"a b", b"x" * 254])
def test_a_pool_whose_uid_would_make_other_keys_of_it_is_none(name: bytes) -> None:
    """Under `dead` stand the dead letters of queues, which a pool that is gone would take with it."""
    with pytest.raises(WrongField):
        pool_uid_of(name)


def test_a_pool_of_the_registry_has_a_name_that_an_object_may_have() -> None:
    assert pool_uid_of(b"5f1c-uid") == "5f1c-uid"
    assert pool_key_of(text({"namespace": "shop", "name": "ml"})) == ("shop", "ml")
    with pytest.raises(WrongField):
        pool_key_of(text({"namespace": "shop", "name": "../secrets"}))


def test_a_report_that_cannot_be_understood_still_tells_that_somebody_lives_while_it_changes() -> None:
    process = register(REGISTRATION)
    assert heard_of({"pod-uid": text(REPORT)}).of(process) == 12
    assert heard_of({}).of(process) is None
    younger = [heard_of({"pod-uid": text({**REPORT, "v": 2, "n": n})}).of(process) for n in (1, 1, 2)]
    assert None not in younger
    assert (younger[0] == younger[1], younger[1] == younger[2]) == (True, False)


def test_only_a_report_that_has_changed_is_parsed_again_and_one_that_is_gone_is_forgotten() -> None:
    reports = Reports()
    first = reports.read({"a": text(REPORT), "b": text(REPORT)})
    changed = text(REPORT | {"n": 8})
    second = reports.read({"a": text(REPORT), "b": changed, "c": b"nonsense"})
    assert second["a"] is first["a"]
    assert (second["b"].counter, set(second)) == (8, {"a", "b"})
    assert reports.unreadable == {"c"}
    assert reports.read({"b": changed}) == {"b": second["b"]}
    assert reports.read({}) == {}
    assert reports.unreadable == set()
