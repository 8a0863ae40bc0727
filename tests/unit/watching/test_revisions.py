"""Who keeps what was made of a pool sees by a number whether to make it anew; what is known is not read again."""

from collections.abc import Callable
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.cluster.body import Body
from celeriac.pool.parse import parse_pool
from celeriac.watching.store import Store

pytestmark = pytest.mark.unit

ML = PoolKey("team", "ml")


def pool(version: str = "1", *, name: str = "ml", generation: int = 1, status: Body | None = None, **spec: Any) -> Body:
    given = {"image": "app:1", "app": "app", "broker": {"url": "redis://redis:6379/0"}}
    metadata = {"namespace": "team", "name": name, "uid": name, "generation": generation, "resourceVersion": version}
    return {"metadata": metadata, "spec": given | spec, "status": status or {}}


def deployment(version: str = "1", replicas: int = 1) -> Body:
    metadata = {"namespace": "team", "name": "ml", "uid": "d", "generation": 1, "resourceVersion": version}
    return {"metadata": metadata, "spec": {"replicas": replicas}}


def pod(version: str = "1", pool: str = "ml", phase: str = "Pending", **annotations: str) -> Body:
    metadata = {"namespace": "team", "name": "one", "uid": "p", "labels": {"celeriac.dev/pool": pool}}
    return {"metadata": metadata | {"resourceVersion": version, "annotations": annotations}, "status": {"phase": phase}}


@pytest.fixture
def changed() -> list[PoolKey]:
    return []


@pytest.fixture
def store(changed: list[PoolKey]) -> Store:
    """One pool with its Deployment and a Pod, and nothing said of them yet."""
    store = Store(changed.append)
    store.pool_event(pool(), deleted=False)
    store.deployment_event(deployment(), deleted=False)
    store.pod_event(pod(), deleted=False)
    changed.clear()
    return store


CHANGES: dict[str, Callable[[Store], None]] = {
    "its spec": lambda store: store.pool_event(pool("2", generation=2, concurrency=2), deleted=False),
    "its deletion": lambda store: store.pool_event(pool("2"), deleted=True),
    "its Deployment": lambda store: store.deployment_event(deployment("2", replicas=3), deleted=False),
    "its Deployment's deletion": lambda store: store.deployment_event(deployment("2"), deleted=True),
    "its Pod": lambda store: store.pod_event(pod("2", phase="Running"), deleted=False),
    "its Pod's end": lambda store: store.pod_event(pod("2"), deleted=True),
    "its Pod's label": lambda store: store.pod_event(pod("2", "other"), deleted=False),
    "a mark of our own": lambda store: store.note_pod(pod("2", **{"celeriac.dev/drain": "token"})),
    "a count of our own": lambda store: store.note_replicas(ML, 4, ""),
    "a list without its Pod": lambda store: store.replace_pods([], store.moments()[2]),
    "a list with another Deployment": lambda store: store.replace_deployments([deployment("2", 5)], store.moments()[1]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_revision_of_a_pool_grows_with_whatever_is_known_of_it(
    store: Store, change: Callable[[Store], None]
) -> None:
    before, other = store.revision(ML), store.revision(PoolKey("team", "nobody"))
    change(store)
    assert store.revision(ML) > before
    assert store.revision(PoolKey("team", "nobody")) == other


def test_a_status_changes_neither_number_and_does_not_make_the_spec_be_read_again(
    store: Store, changed: list[PoolKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.revision(ML), store.pools_version
    monkeypatch.setattr("celeriac.watching.store.parse_pool", lambda _: pytest.fail("read again"))
    store.pool_event(pool("2", status={"replicas": 7}), deleted=False)
    store.replace_pools([pool("3", status={"replicas": 8})], store.moments()[0])
    known = store.pools.get(ML)
    assert known is not None
    assert known.status == {"replicas": 8}
    assert (store.revision(ML), store.pools_version) == before
    assert changed == [ML, ML], "whoever writes statuses sees them all the same"


def test_a_spec_of_the_same_generation_is_read_again_where_its_text_differs(store: Store) -> None:
    """A new version of the CRD may add a default to what is stored."""
    body = pool("2", concurrency=7)
    store.pool_event(body, deleted=False)
    known = store.pools.get(ML)
    assert known is not None
    assert known.spec == parse_pool(body)


def test_the_version_of_all_pools_grows_with_the_set_and_with_a_spec_but_not_with_a_child(store: Store) -> None:
    seen = [store.pools_version]
    store.deployment_event(deployment("2", replicas=3), deleted=False)
    store.pod_event(pod("2", phase="Running"), deleted=False)
    assert store.pools_version == seen[0]
    for body, deleted in ((pool("5", name="new"), False), (pool("6", generation=2, concurrency=2), False)):
        store.pool_event(body, deleted=deleted)
        seen.append(store.pools_version)
    store.pool_event(pool("7", name="new"), deleted=True)
    seen.append(store.pools_version)
    assert seen == sorted(set(seen))


def test_a_body_that_is_known_is_not_read_again(
    store: Store, changed: list[PoolKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when a list brings it nor when a watch that begins anew does."""
    for kind in ("PodRecord", "DeploymentRecord"):
        monkeypatch.setattr(f"celeriac.watching.store.{kind}.from_body", lambda _: pytest.fail("read again"))
    moments = store.moments()
    store.replace_pools([pool()], moments[0])
    store.replace_deployments([deployment()], moments[1])
    store.replace_pods([pod()], moments[2])
    store.deployment_event(deployment(), deleted=False)
    store.pod_event(pod(), deleted=False)
    assert changed == []


def test_what_a_write_of_our_own_changed_is_read_again_with_the_next_body(store: Store) -> None:
    """The write may have lost against another one whose event came before it."""
    store.note_replicas(ML, 4, "")
    store.note_pod(pod(**{"celeriac.dev/drain": "token"}))
    store.replace_deployments([deployment()], store.moments()[1])
    store.replace_pods([pod()], store.moments()[2])
    known = store.deployments.get(ML)
    assert known is not None
    assert known.spec_replicas == 1
    assert [record.drain_token for record in store.pods(ML)] == [None]


def test_what_a_list_brought_while_a_write_was_noted_is_read_again_with_the_next_list(store: Store) -> None:
    moment = store.moments()[1]
    store.note_replicas(ML, 4, "")
    store.replace_deployments([deployment("2", replicas=5)], moment)
    known = store.deployments.get(ML)
    assert known is not None
    assert known.spec_replicas == 4, "the list is older than the write"
    store.replace_deployments([deployment("2", replicas=5)], store.moments()[1])
    known = store.deployments.get(ML)
    assert known is not None
    assert known.spec_replicas == 5


def test_a_pool_that_is_gone_leaves_no_number_and_comes_back_with_a_new_one(store: Store) -> None:
    before = store.revision(ML)
    store.pool_event(pool("2"), deleted=True)
    store.deployment_event(deployment("2"), deleted=True)
    store.replace_pods([], store.moments()[2])
    assert store.revision(ML) == 0
    store.pool_event(pool("9"), deleted=False)
    assert store.revision(ML) > before
