"""Requests as they come: what is kept of them, and what becomes of too many."""

from typing import Any

import pytest

from celeriac.answering.desk import OPEN_IN_A_NAMESPACE, Desk
from celeriac.answering.request import Action, Request
from celeriac.api.keys import PoolKey

pytestmark = pytest.mark.unit


def body(
    name: str, namespace: str = "shop", round: int = 0, answered: int | None = None, **spec: Any
) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{name}"}
    status = {} if answered is None else {"status": {"round": answered, "phase": "Done"}}
    return {"metadata": metadata, "spec": {"action": "Queues", "pool": "ml", "round": round, **spec}, **status}


def test_a_request_is_answered_once_for_each_round() -> None:
    assert not Request.from_body(body("q")).is_answered
    assert Request.from_body(body("q", answered=0)).is_answered
    assert not Request.from_body(body("q", round=1, answered=0)).is_answered


def test_all_of_a_request_is_read() -> None:
    spec: dict[str, Any] = {"action": "DropDeadLetters", "queue": "mail", "ids": ["a", "b"], "limit": 7}
    read = Request.from_body(body("q", **spec))
    assert read == Request(
        PoolKey("shop", "q"), "uid-q", Action.DROP, "ml", "mail", ids=frozenset({"a", "b"}), limit=7, round=0
    )


def test_too_many_in_a_namespace_are_refused_and_keep_nothing_of_what_they_ask_for() -> None:
    parts: Any = None
    desk = Desk(parts, parts, parts, parts, ())
    for number in range(OPEN_IN_A_NAMESPACE + 1):
        desk.take(body(f"q{number}", ids=["x"]), deleted=False)
    desk.take(body("other", namespace="bank", ids=["x"]), deleted=False)
    kept = desk.open
    refused = [key.name for key, each in kept.items() if each.is_one_too_many]
    assert refused == [f"q{OPEN_IN_A_NAMESPACE}"]
    assert kept[PoolKey("shop", refused[0])].ids == frozenset()
    for gone in ("q0", "q0", "q1"):
        desk.take(body(gone), deleted=True)
    desk.take(body("next", ids=["x"]), deleted=False)
    assert not desk.open[PoolKey("shop", "next")].is_one_too_many


def test_what_another_release_asks_for_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    parts: Any = None
    desk = Desk(parts, parts, parts, parts, ())
    desk.take(body("q", action="Dance"), deleted=False)
    assert desk.open == {}
    assert "cannot be read, and is left alone" in caplog.text
