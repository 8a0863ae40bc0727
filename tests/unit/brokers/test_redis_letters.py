"""What becomes of one message that its worker no longer holds: where it goes, and what is written into it."""

# mypy: disable-error-code="no-untyped-call"

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.transport.redis import Channel

from celeriac.brokers.redis.bindings import Binding
from celeriac.brokers.redis.letters import (
    BROADCAST,
    Letter,
    dead_reason_of,
    letter_of,
    message_of,
    redelivered,
    revived,
    step_of,
)

pytestmark = pytest.mark.unit

STEPS = (0, 3, 6, 9)
NESTED = b"[" * 60_000 + b"]" * 60_000  # deeper than Python's JSON decoder goes


def message(**delivery_info: Any) -> dict[str, Any]:
    return {
        "body": "W10=",
        "content-type": "application/json",
        "headers": {"id": "1", "task": "train"},
        "properties": {"priority": 0, "delivery_info": {"exchange": "", "routing_key": "mail", **delivery_info}},
    }


def letter(exchange: str = "", routing_key: str = "mail", **delivery_info: Any) -> Letter:
    found = letter_of(json.dumps([message(**delivery_info), exchange, routing_key]).encode())
    assert found is not None
    return found


def test_the_stamp_of_the_agent_beats_every_route() -> None:
    bound = {"orders": [Binding("#", "", "audit")]}
    assert letter("orders", "order.new", celeriac_queue="mail").queue(bound) == "mail"


def test_a_broadcast_goes_nowhere() -> None:
    assert letter("bcast", "", celeriac_queue="").queue({}) == BROADCAST


def test_without_a_stamp_the_default_exchange_names_the_queue() -> None:
    assert letter("", "mail").queue({}) == "mail"
    assert letter("", "").queue({}) is None


@pytest.mark.parametrize(("queues", "expected"), [((), None), (("mail",), "mail"), (("mail", "audit"), None)])
def test_without_a_stamp_an_exchange_must_have_one_queue_alone(queues: tuple[str, ...], expected: str | None) -> None:
    unstamped = letter("orders", "new")
    assert unstamped.needs_bindings
    assert unstamped.queue({"orders": [Binding("new", "", queue) for queue in queues]}) == expected


@pytest.mark.parametrize("stamp", [None, 5, ["mail"], {"mail": 1}])
def test_a_stamp_that_is_no_name_is_none(stamp: Any) -> None:
    assert letter("", "mail", celeriac_queue=stamp).queue({}) == "mail"


@pytest.mark.parametrize(
    "entry",
    [b"", b"no message", b"[]", b'["", "", ""]', b'[{}, "", ""]', b'[{"properties": []}, "", "mail"]', b"\xff", NESTED],
)
def test_what_kombu_did_not_write_is_no_message(entry: bytes) -> None:
    assert letter_of(entry) is None


@pytest.mark.parametrize("priority", [None, -1, 0, 1, 2, 3, 5, 6, 8, 9, 10, 255, "4", "high", 2.5, []])
@pytest.mark.parametrize("steps", [STEPS, (0, 5), (3, 6), (0,)])
def test_the_priority_step_is_the_one_that_kombu_takes(priority: Any, steps: tuple[int, ...]) -> None:
    channel = Channel.__new__(Channel)
    channel.priority_steps = list(steps)
    body = {"properties": {"priority": priority}}
    expected = channel.priority(channel._get_message_priority(body))
    assert step_of(body, steps) == expected


def test_a_priority_that_kombu_stumbles_over_stops_nobody() -> None:
    assert step_of({"properties": {"priority": float("inf")}}, STEPS) == 0


def test_a_message_goes_back_marked_as_redelivered_and_otherwise_as_it_was() -> None:
    back = json.loads(redelivered(letter(celeriac_queue="mail"), 0))
    expected = message(celeriac_queue="mail", redelivered=True)
    expected["headers"]["redelivered"] = True
    assert back == expected


def test_a_message_without_headers_or_delivery_info_goes_back_too() -> None:
    bare = letter_of(b'[{"body": "", "properties": {}}, "", "mail"]')
    assert bare is not None
    assert json.loads(redelivered(bare, 0)) == {"body": "", "properties": {"delivery_info": {"redelivered": True}}}


def test_deaths_travel_inside_the_message_until_it_is_revived() -> None:
    dead = redelivered(letter(), 2, "it killed two workers")
    again = letter_of(b"[" + dead + b', "", "mail"]')
    assert again is not None
    assert again.deaths == 2
    assert dead_reason_of(again.message) == "it killed two workers"
    alive = message_of(revived(again.message))
    assert alive is not None
    assert [name for name in alive["properties"]["delivery_info"] if name.startswith("celeriac")] == []


@pytest.mark.parametrize("deaths", [-1, True, "2", 1.5, None, []])
def test_a_number_of_deaths_that_is_none_counts_as_zero(deaths: Any) -> None:
    assert letter(celeriac_deaths=deaths).deaths == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)


json_objects = st.dictionaries(st.text(), json_values, max_size=3)


@settings(max_examples=40, deadline=None)
@given(body=st.text(), extra=json_objects, headers=json_objects)
def test_whatever_a_producer_sent_comes_out_as_it_went_in(
    body: str, extra: dict[str, Any], headers: dict[str, Any]
) -> None:
    """Empty lists, big integers and all: what Lua's cjson would damage."""
    sent = {**extra, "body": body, "headers": headers, "properties": {"delivery_info": {}}}
    found = letter_of(json.dumps([sent, "", "mail"]).encode())
    assert found is not None
    steps: tuple[Callable[[], bytes], ...] = (lambda: redelivered(found, 0), lambda: revived(found.message))
    for step in steps:
        out = json.loads(step())
        out["headers"].pop("redelivered", None)
        out["properties"]["delivery_info"].pop("redelivered", None)
        assert out == {**sent, "headers": {name: value for name, value in headers.items() if name != "redelivered"}}
