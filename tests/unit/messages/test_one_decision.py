"""The agent in a worker and the operator outside of it decide alike what becomes of a message, and as kombu would."""

# mypy: disable-error-code="no-untyped-call"

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celeriac_agent import bindings as agent_bindings
from celeriac_agent import messages
from celeriac_agent.settings import ProcessKeys
from kombu.transport.redis import Channel
from kombu.transport.virtual.exchange import DirectExchange, TopicExchange

from celeriac.brokers.redis import letters
from celeriac.brokers.redis.bindings import Binding
from celeriac.brokers.redis.envelopes import Envelope
from celeriac.brokers.redis.restore import Hash, Held, judge
from celeriac.cluster import depth
from celeriac.pool.model import QueueLayout
from tests.unit.messages.cases import CASES, NO_MESSAGES, PRIORITIES, ROUTES, SEPARATOR, Case, entry, stamped

pytestmark = pytest.mark.unit

Decision = tuple[str | None, Any]
"""A list, and what is put into it."""


def of_the_agent(case: Case) -> Decision:
    keys = ProcessKeys("", "unacked.p.1", "unacked_index.p.1", "unacked_mutex.p.1", SEPARATOR, case.steps)
    bindings = [agent_bindings.Binding(*row) for row in case.bindings]
    place = messages.place_of(
        case.entry, lambda exchange: bindings, keys, died=case.died, max_attempts=case.max_attempts, redelivered=True
    )
    return place.key, place.payload


def of_the_operator(case: Case) -> Decision:
    source = Hash("unacked.p.1", "unacked_index.p.1", QueueLayout("", SEPARATOR, case.steps))
    letter = letters.letter_of(case.entry)
    tables = {letter.exchange: [Binding(*row) for row in case.bindings]} if letter else {}
    held = Held(b"tag", started=True)
    limit = case.max_attempts if case.died else 0
    move = judge(source, held, Envelope.whole(case.entry), tables, died=case.died, limit=limit).move
    return move.target, move.message


def kombu_understands(case: Case) -> bool:
    """It stumbles over an infinite priority, and over no steps."""
    return bool(case.steps) and b"Infinity" not in case.entry


def _as_json(message: Any) -> str:
    """Comparable: what is no number (NaN) differs from itself."""
    return json.dumps(message, sort_keys=True)


@pytest.mark.parametrize("decide", [of_the_agent, of_the_operator])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_a_message(case: Case, decide: Callable[[Case], Decision]) -> None:
    goes_to, payload = decide(case)
    assert goes_to == case.goes_to
    if goes_to is None:
        return
    if case.message is None:
        assert payload == case.entry
    else:
        assert _as_json(json.loads(payload)) == _as_json(case.message)


@pytest.mark.parametrize("case", [case for case in ROUTES if case.bindings], ids=lambda case: case.name)
def test_the_queues_of_an_exchange_are_those_that_kombu_looks_up(case: Case) -> None:
    _, exchange, routing_key = json.loads(case.entry)
    patterns = [row for row in case.bindings if row[1] and "(" not in row[1]]
    plain = [row for row in case.bindings if not row[1]]
    expected = TopicExchange(None).lookup(patterns, exchange, routing_key, None)
    expected |= DirectExchange(None).lookup(plain, exchange, routing_key, None)
    bound = [agent_bindings.Binding(*row) for row in case.bindings]
    assert {each.queue for each in bound if agent_bindings.takes(each, routing_key)} == expected


@pytest.mark.parametrize("case", [case for case in PRIORITIES if kombu_understands(case)], ids=lambda case: case.name)
def test_the_list_of_a_priority_is_the_one_that_kombu_takes(case: Case) -> None:
    message, *_ = json.loads(case.entry)
    channel = Channel.__new__(Channel)
    channel.priority_steps = list(case.steps)
    assert channel._q_for_pri("mail", channel._get_message_priority(message)) == case.goes_to


def test_the_names_of_the_cases_tell_them_apart() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.message is None and case.goes_to for case in NO_MESSAGES)


@pytest.mark.parametrize(("decide", "levels", "step"), [(of_the_agent, 1000, 1), (of_the_operator, depth.LEVELS, 20)])
def test_a_message_nested_to_the_limit_of_the_decoder_stops_nobody(
    decide: Callable[[Case], Decision], levels: int, step: int
) -> None:
    """What can be read cannot always be written: writing takes some more of Python's stack."""
    found = set()
    sys.setrecursionlimit(levels)
    for nested in range(levels - 300, levels + 1, step):
        text = entry(stamped()).replace(b'"W1tdLCB7fSwge31d"', b"[" * nested + b"]" * nested)
        found.add(decide(Case("deep", text, "mail"))[0])
    assert found == {"mail", "celeriac:dead:unroutable"}
