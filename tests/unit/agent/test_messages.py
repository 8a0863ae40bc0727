"""Where a message goes that its worker no longer holds."""

import json
from typing import Any

import pytest
from celeriac_agent import messages
from celeriac_agent.settings import ProcessKeys

pytestmark = pytest.mark.unit

KEYS = ProcessKeys.of_app({"global_keyprefix": "shop:"}, "worker-1.0a1b2c3d")


def message(queue: str | None = "mail", priority: Any = 0, **info: Any) -> dict[str, Any]:
    stamp = {} if queue is None else {"celeriac_queue": queue}
    return {
        "body": "W1tdLCB7fSwge31d",
        "headers": {"id": "1"},
        "properties": {"priority": priority, "delivery_tag": "tag", "delivery_info": {"exchange": "", **stamp, **info}},
    }


def put(sent: dict[str, Any], *, died: bool = False, max_attempts: int = 5) -> messages.Place:
    queue = messages.source_queue(sent, "", "mail", lambda exchange: ())
    return messages.place(sent, queue, KEYS, died=died, max_attempts=max_attempts)


def test_a_stamped_message_goes_back_to_its_queue_whatever_its_exchange_says() -> None:
    sent = message("mail")
    queue = messages.source_queue(sent, "topics", "mail.urgent", lambda exchange: ("audit", "mail"))
    assert queue == "mail"


def test_an_unstamped_message_belongs_to_its_routing_key_or_to_the_only_queue_of_its_exchange() -> None:
    assert messages.source_queue(message(None), "", "batch", lambda exchange: ()) == "batch"
    assert messages.source_queue(message(None), "direct", "x", lambda exchange: ("batch",)) == "batch"


def test_a_message_that_two_queues_might_claim_is_kept_apart_and_neither_lost_nor_doubled() -> None:
    sent = message(None)
    queue = messages.source_queue(sent, "topics", "x", lambda exchange: ("audit", "mail"))
    place = messages.place(sent, queue, KEYS, died=False, max_attempts=5)
    assert (place.key, place.dead, place.leftmost) == ("celeriac:dead:unroutable", True, True)


def test_a_broadcast_is_dropped() -> None:
    assert put(message("")).key is None


@pytest.mark.parametrize(
    ("priority", "suffix"),
    [(0, ""), (2, ""), (3, "\x06\x163"), (8, "\x06\x166"), (9, "\x06\x169"), (99, "\x06\x169"), (None, ""), ("x", "")],
)
def test_a_message_goes_to_the_list_of_its_priority_rounded_down(priority: Any, suffix: str) -> None:
    assert put(message(priority=priority)).key == f"mail{suffix}"


def test_what_is_given_back_is_the_very_message_that_was_sent() -> None:
    sent = message(priority=3)
    before = json.dumps(sent)
    assert put(sent).payload == before


def test_a_message_started_in_too_many_processes_that_died_becomes_a_dead_letter_that_says_why() -> None:
    sent = message()
    for death in (1, 2):
        place = put(sent, died=True, max_attempts=3)
        assert (place.key, place.dead) == ("mail", False)
        assert json.loads(place.payload)["properties"]["delivery_info"]["celeriac_deaths"] == death
    place = put(sent, died=True, max_attempts=3)
    assert (place.key, place.dead, place.leftmost) == ("celeriac:dead:mail", True, True)
    assert "3 processes" in json.loads(place.payload)["properties"]["delivery_info"]["celeriac_dead"]


def test_a_message_that_merely_waited_in_a_dead_process_is_innocent() -> None:
    place = put(message(celeriac_deaths=4), died=False, max_attempts=5)
    assert (place.key, place.dead) == ("mail", False)


def test_redelivery_is_said_in_both_places_even_where_headers_are_missing() -> None:
    sent = message()
    sent["headers"] = None
    messages.mark_redelivered(sent)
    assert sent["headers"]["redelivered"] is True
    assert sent["properties"]["delivery_info"]["redelivered"] is True


def test_the_oldest_message_is_pushed_last_whether_it_was_started_or_not() -> None:
    scores = {"old": messages.STARTED_SCORE + 100.0, "middle": 200.0, "new": messages.STARTED_SCORE + 300.0}
    assert messages.newest_first(scores, ["old", "new", "middle"]) == ["new", "middle", "old"]
