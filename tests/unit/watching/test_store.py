"""The store: events win over lists that began before them, and lists find what the watch has missed."""

from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.cluster.paths import DEPLOYMENTS, PODS
from celeriac.pool.model import InvalidPool, WorkerPool
from celeriac.pool.parse import parse_pool
from celeriac.watching.cache import Cache
from celeriac.watching.store import Store

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


def test_a_list_must_be_as_new_as_the_last_event_of_what_is_gone_too() -> None:
    store = Store(lambda key: None)
    pods = store.edges[PODS]
    for version, deleted in (("7", False), ("9", True), ("8", False), ("", False)):
        body = pod(f"p{version}")
        body["metadata"]["resourceVersion"] = version
        store.pod_event(body, deleted=deleted)
    assert pods.newest == 9
    pods.saw("12")
    assert (pods.newest, store.edges[DEPLOYMENTS].newest) == (12, 0)


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


def in_pools(store: Store, *pools: str) -> list[list[str]]:
    return [[record.name for record in store.pods(PoolKey("team", each))] for each in pools]


@pytest.mark.parametrize("told_by", ["event", "list"])
def test_a_pod_that_gets_the_label_of_another_pool_counts_in_that_one_alone(told_by: str) -> None:
    changed: list[PoolKey] = []
    store = Store(changed.append)
    store.pod_event(pod("one", "a"), deleted=False)
    store.pod_event(pod("two", "a"), deleted=False)
    changed.clear()
    if told_by == "event":
        store.pod_event(pod("one", "b"), deleted=False)
    else:
        store.replace_pods([pod("one", "b"), pod("two", "a")], store.moments()[2])
    assert in_pools(store, "a", "b") == [["two"], ["one"]]
    assert set(changed) == {PoolKey("team", "a"), PoolKey("team", "b")}
    store.pod_event(pod("one", "b"), deleted=True)
    assert in_pools(store, "a", "b") == [["two"], []]


def test_a_mark_that_is_written_while_the_label_changes_leaves_the_pod_where_it_is() -> None:
    store = Store(lambda _: None)
    written = pod("one", "a")
    store.pod_event(written, deleted=False)
    store.pod_event(pod("one", "b"), deleted=False)
    written["metadata"]["annotations"] = {"celeriac.dev/drain": "token"}
    store.note_pod(written)
    assert in_pools(store, "a", "b") == [[], ["one"]]
    assert [record.drain_token for record in store.pods(PoolKey("team", "b"))] == ["token"]


def deployment(version: int, replicas: int, observed: int = 1) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "ml", "uid": "d", "generation": 2, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"replicas": replicas}, "status": {"observedGeneration": observed}}


ML = PoolKey("team", "ml")


def known(store: Store) -> tuple[int, int]:
    """Replicas and the generation that the controller has seen."""
    record = store.deployments.get(ML)
    assert record is not None
    return record.spec_replicas, record.observed_generation


def test_the_answer_to_a_write_that_the_watch_has_overtaken_undoes_nothing() -> None:
    """An apply is answered late: meanwhile the controller has seen what was applied, and nothing comes after that."""
    store = Store(lambda _: None)
    store.deployment_event(deployment(7, 10, observed=2), deleted=False)
    store.deployment_event(deployment(6, 10, observed=1), deleted=False)
    assert known(store) == (10, 2)
    store.note_replicas(ML, 3, "6")
    assert known(store) == (10, 2)
    store.note_replicas(ML, 3, "8")
    assert known(store) == (3, 2)
    store.deployment_event(deployment(7, 10, observed=2), deleted=False)
    store.deployment_event(deployment(8, 3, observed=2), deleted=False)
    assert known(store) == (3, 2)


def test_the_answer_to_a_write_brings_nothing_back_that_was_deleted_since() -> None:
    store = Store(lambda _: None)
    store.deployment_event(deployment(5, 10), deleted=False)
    store.deployment_event(deployment(7, 10), deleted=True)
    store.deployment_event(deployment(6, 10), deleted=False)
    assert store.deployments.get(ML) is None
    store.deployment_event(deployment(8, 4), deleted=False)
    assert known(store) == (4, 1)


def test_a_list_is_believed_although_it_is_older_than_what_was_known() -> None:
    """An etcd that was restored from a backup begins anew at an earlier version."""
    store = Store(lambda _: None)
    store.deployment_event(deployment(700, 10), deleted=False)
    store.replace_deployments([deployment(5, 2)], store.moments()[1])
    assert known(store) == (2, 1)
    store.deployment_event(deployment(6, 3), deleted=False)
    assert known(store) == (3, 1)


def test_marks_of_a_late_answer_are_none() -> None:
    store = Store(lambda _: None)

    def marked(version: str, token: str | None) -> dict[str, Any]:
        body = pod("one", "ml")
        body["metadata"] |= {"resourceVersion": version, "annotations": {"celeriac.dev/drain": token} if token else {}}
        return body

    store.pod_event(marked("5", None), deleted=False)
    store.pod_event(marked("7", "second"), deleted=False)
    store.note_pod(marked("6", "first"))
    assert [record.drain_token for record in store.pods(PoolKey("team", "ml"))] == ["second"]


def broken(body: dict[str, Any]) -> dict[str, Any]:
    """The same object, as no version of the operator expects it."""
    return body | {"spec": 7, "status": [7]}


def test_a_pod_that_cannot_be_read_hides_no_other_and_stays_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(lambda _: None)
    store.pod_event(pod("old", phase="Running"), deleted=False)
    for _ in range(3):
        store.replace_pods([broken(pod("old")), broken(pod("new")), pod("fine")], store.moments()[2])
    assert in_pools(store, "ml") == [["old", "fine"]]
    assert [record.phase for record in store.pods(PoolKey("team", "ml"))] == ["Running", "Pending"]
    assert store.unreadable["Pod"] == 2
    assert [record.exc_info is not None for record in caplog.records] == [True, True], "once each, with a traceback"
    store.pod_event(broken(pod("new")), deleted=True)
    store.pod_event(pod("old", phase="Running"), deleted=False)
    assert store.unreadable["Pod"] == 0


def test_a_deployment_that_cannot_be_read_stays_what_it_was() -> None:
    store, key = Store(lambda _: None), PoolKey("team", "ml")
    deployment = {"metadata": {"namespace": "team", "name": "ml", "uid": "d"}, "spec": {"replicas": 3}}
    store.deployment_event(deployment, deleted=False)
    store.deployment_event(broken(deployment), deleted=False)
    store.replace_deployments([broken(deployment)], store.moments()[1])
    known = store.deployments.get(key)
    assert known is not None
    assert (known.spec_replicas, store.unreadable["Deployment"]) == (3, 1)
    store.deployment_event(broken(deployment), deleted=True)
    assert (store.deployments.get(key), store.unreadable["Deployment"]) == (None, 0)


def test_a_fault_in_reading_one_spec_makes_that_pool_invalid_and_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that makes `parse_pool` fail is not known (else it would be mended there); the fault is planted."""

    def parse(body: dict[str, Any]) -> WorkerPool:
        if body["metadata"]["name"] == "odd":
            raise ZeroDivisionError("a fault of ours")
        return parse_pool(body)

    monkeypatch.setattr("celeriac.watching.store.parse_pool", parse)
    store = Store(lambda _: None)
    store.replace_pools([pool("odd"), pool("ml")], store.moments()[0])
    odd, fine = (store.pools.get(PoolKey("team", name)) for name in ("odd", "ml"))
    assert odd is not None
    assert isinstance(odd.spec, InvalidPool)
    assert "a fault of the operator (ZeroDivisionError" in str(odd.spec)
    assert fine is not None
    assert isinstance(fine.spec, WorkerPool)
    assert caplog.records[0].exc_info is not None
