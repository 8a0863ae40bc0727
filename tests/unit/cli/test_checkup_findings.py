"""What the doctor makes of the answers of operators: who they are, and lists that nobody reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celeriac.cli.checkup import Looked, one_of_each_broker
from celeriac.cli.checkup_findings import of_the_lists, of_the_operators

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EVENTS = "celeryev.0b5f8a1e-0000-4000-8000-000000000001"


def looked(*lists: dict[str, Any], **found: Any) -> dict[str, Looked]:
    operator = {"name": "celeriac-1", "version": "1.2.3", "time": "2026-03-01T12:00:00Z"}
    return {"shop/ml": Looked(NOW, {"operator": operator, "lists": list(lists), "isWhole": True} | found)}


def of(length: int, oldest: str, size: int = 100) -> dict[str, Any]:
    return {"key": EVENTS, "length": length, "size": size * length, "oldest": oldest}


def lists(first: dict[str, Looked], again: dict[str, Looked], left: int = 0) -> list[str]:
    return [str(each) for each in of_the_lists(first, again, left)]


WELL = "ok unread lists: 1 of 1 brokers have none of Celery's own that matter"


def test_a_list_that_grows_and_from_which_nobody_takes_is_told_with_its_cure() -> None:
    told, rest = lists(looked(of(5000, "a")), looked(of(5100, "a")))
    assert told.startswith(
        "!  unread lists in the broker of pool shop/ml: 5100 messages, about 0.5 MB, in 1 that nobody"
    )
    assert f"{EVENTS} (5100)" in told
    assert "redis-cli DEL" in told
    assert rest == "ok unread lists: 0 of 1 brokers have none of Celery's own that matter"


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ((), ()),
        ((of(5000, "a"),), (of(5000, "b"),)),
        ((of(5000, "a"),), ()),
        ((), (of(5000, "a"),)),
        ((of(3, "a"),), (of(3, "a"),)),
    ],
    ids=["none", "somebody takes from it", "it was emptied", "it is new", "a late answer"],
)
def test_what_is_read_or_is_no_harm_is_not_told(
    first: tuple[dict[str, Any], ...], again: tuple[dict[str, Any], ...]
) -> None:
    assert lists(looked(*first), looked(*again)) == [WELL]


def test_what_could_not_be_looked_at_is_said() -> None:
    (refused,) = lists(looked(unread="the user may not +sscan"), {})
    assert refused.startswith("?  unread lists in the broker of pool shop/ml: not looked for: the user may not +sscan")
    (silent,) = lists({"shop/ml": Looked(NOW, {}, "no operator has answered")}, {})
    assert "no operator has answered" in silent
    assert any("too many keys" in line for line in lists(looked(isWhole=False), {}))
    assert any(line.startswith("?  unread lists: 7 more brokers") for line in lists(looked(), {}, 7))
    assert lists({}, {}) == []
    known = of_the_lists(looked(unread="nothing listens there"), {}, 0, {"shop/ml"})
    assert list(known) == [], "its condition tells it already"


def test_who_answers_is_told_once_with_its_release_and_its_clock() -> None:
    twice = {**looked(), "shop/mail": looked()["shop/ml"]}
    assert [str(each) for each in of_the_operators(twice, timedelta(0), "1.2.3")] == [
        "ok operator celeriac-1: it has answered a request just now, 1.2.3"
    ]
    _, other, clock = (str(each) for each in of_the_operators(looked(), timedelta(seconds=60), "1.3.0"))
    assert "this plugin is 1.3.0, the operator is 1.2.3" in other
    assert clock.startswith("!  clock: the operator celeriac-1 is 60 s ahead of the API server")


def test_one_pool_is_asked_about_for_each_broker() -> None:
    def pool(name: str, namespace: str = "shop", **broker: Any) -> dict[str, Any]:
        metadata = {"namespace": namespace, "name": name}
        return {"metadata": metadata, "spec": {"broker": broker}, "status": {"conditions": [{}]}}

    secret = {"secretKeyRef": {"name": "broker", "key": "url"}}
    pools = [
        pool("a", url="redis://cache"),
        pool("b", url="redis://cache"),
        pool("c", "bank", url="redis://cache"),
        pool("d", urlFrom=secret),
        pool("e", "bank", urlFrom=secret),
        pool("f", url="redis://cache", keyPrefix="x:"),
        pool("g", url="redis://new") | {"status": {}},
    ]
    assert [each["metadata"]["name"] for each in one_of_each_broker(pools)] == ["a", "d", "e", "f"]
