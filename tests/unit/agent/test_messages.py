"""What the agent alone does with messages; where each of them goes stands in tests/unit/messages."""

# mypy: disable-error-code="no-untyped-call"

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from celeriac_agent import messages
from celeriac_agent.settings import ProcessKeys
from kombu.utils.json import dumps

from tests.unit.messages.cases import entry, message, stamped

pytestmark = pytest.mark.unit

KEYS = ProcessKeys.of_app({"global_keyprefix": "shop:"}, "worker-1.0a1b2c3d")


def place(sent: dict[str, Any], *, died: bool = False, redelivered: bool = True) -> messages.Place:
    return messages.place_of(entry(sent), lambda exchange: (), KEYS, died=died, max_attempts=3, redelivered=redelivered)


def test_what_is_given_back_is_the_very_message_that_was_sent() -> None:
    sent = stamped()
    assert place(sent, redelivered=False) == messages.Place("mail", json.dumps(sent))


def test_a_message_that_kills_each_of_its_workers_becomes_a_dead_letter() -> None:
    sent, places = stamped(), []
    for _ in range(3):
        places.append(place(sent, died=True))
        sent = json.loads(places[-1].payload)
    assert [(each.key, each.dead) for each in places] == [
        ("mail", False),
        ("mail", False),
        ("celeriac:dead:mail", True),
    ]


def test_a_message_as_kombu_hands_it_over_is_written_as_kombu_writes_it() -> None:
    """Dates and the like are decoded by then."""
    at, by = datetime(2026, 1, 1, tzinfo=UTC), uuid.uuid4()
    sent = message({"celeriac_queue": "mail"}, headers={"at": at, "by": by})
    payload = messages.place(sent, "mail", KEYS, died=False, max_attempts=5).payload
    assert payload == dumps(sent)
    assert json.loads(payload)["headers"]["at"]["__type__"] == "datetime"


def test_the_oldest_message_is_pushed_last_whether_it_was_started_or_not() -> None:
    scores = {"old": messages.STARTED_SCORE + 100.0, "middle": 200.0, "new": messages.STARTED_SCORE + 300.0}
    assert messages.newest_first(scores, ["old", "new", "middle"]) == ["new", "middle", "old"]
