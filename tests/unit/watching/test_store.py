"""The store: events win over lists that began before them, and lists find what the watch has missed."""

from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.watching.store import Cache, Store

pytestmark = pytest.mark.unit


def pod(name: str, pool: str = "ml", **status: Any) -> dict[str, Any]:
    labels = {"celeriac.dev/pool": pool}
    return {
        "metadata": {"namespace": "team", "name": name, "uid": name, "labels": labels},
        "spec": {},
        "status": status,
    }


def pool(name: str = "ml", uid: str = "1", **spec: Any) -> dict[str, Any]:
    given = {"image": "app:1", "app": "app", "broker": {"url": "redis://redis:6379/0"}}
    return {"metadata": {"namespace": "team", "name": name, "uid": uid, "generation": 1}, "spec": given | spec}


def test_an_event_that_came_while_a_list_was_under_way_is_not_undone_by_it() -> None:
    cache: Cache[str, int] = Cache()
    cache.put("deleted later", 1)
    asked = cache.now()
    cache.drop("deleted later")
    cache.put("created later", 2)
    changed = cache.replace({"deleted later": 1}, since=asked)
    assert changed == set()
    assert cache.get("deleted later") is None
    assert cache.get("created later") == 2


def test_a_list_finds_a_ghost_that_the_watch_never_reported_as_deleted() -> None:
    changed: list[PoolKey] = []
    store = Store(changed.append)
    store.pod_event(pod("gone"), deleted=False)
    store.pod_event(pod("here"), deleted=False)
    changed.clear()
    *_, since_pods = store.moments()
    store.replace_pods([pod("here")], since_pods)
    assert [record.name for record in store.pods(PoolKey("team", "ml"))] == ["here"]
    assert changed == [PoolKey("team", "ml")]


def test_a_list_that_brings_nothing_new_puts_nothing_in_line() -> None:
    changed: list[PoolKey] = []
    store = Store(changed.append)
    store.pool_event(pool(), deleted=False)
    store.pod_event(pod("one"), deleted=False)
    changed.clear()
    since_pools, _, since_pods = store.moments()
    store.replace_pools([pool()], since_pools)
    store.replace_pods([pod("one")], since_pods)
    assert changed == []


def test_a_pool_that_cannot_be_parsed_is_known_with_its_error_and_mended_by_the_next_event() -> None:
    store = Store(lambda _: None)
    key = PoolKey("team", "ml")
    store.pool_event(pool(pool="solo", concurrency=7), deleted=False)
    known = store.pools.get(key)
    assert known is not None
    assert isinstance(known.spec, InvalidPool)
    assert known.spec.field == "spec.concurrency"
    store.pool_event(pool(pool="solo"), deleted=False)
    known = store.pools.get(key)
    assert known is not None
    assert isinstance(known.spec, WorkerPool)
