"""Brokers that only Pods name."""

import pytest

from celeriac.connecting.credentials import BrokerSource
from celeriac.pool.model import BrokerSpec, InvalidPool, QueueLayout
from celeriac.recovery.orphans import Orphan, named_by_pods, orphans_of
from celeriac.watching.store import Store
from tests.unit.builders.cluster import Body, pod_body, pool_body
from tests.unit.builders.workers import KEY

pytestmark = pytest.mark.unit

HERE, THERE = BrokerSpec(url="redis://here:6379/0"), BrokerSpec(url="redis://there:6379/0")


def orphans(*pods: Body, pool: Body | None = None, knows: bool = True) -> list[Orphan]:
    store = Store(lambda _: None)
    if pool is not None:
        store.pool_event(pool, deleted=False)
    for pod in pods:
        store.pod_event(pod, deleted=False)
    return orphans_of(named_by_pods(store.pools.values(), store.all_pods()), lambda *_: knows)


def test_pods_of_a_pool_that_nobody_has_seen_there_lead_nowhere() -> None:
    """Whoever may make a Pod gives it any labels and annotations."""
    assert orphans(pod_body("ml-1", "1", broker=HERE), knows=False) == []
    assert orphans(pod_body("ml-1", "1", broker=THERE), pool=pool_body(url=HERE.url), knows=False) == []


def test_pods_of_a_pool_that_is_there_name_nothing_new() -> None:
    assert orphans(pod_body("ml-1", "1", broker=HERE), pool=pool_body(url=HERE.url)) == []


def test_pods_of_a_deleted_pool_name_its_broker_once() -> None:
    pods = [pod_body(f"ml-{number}", str(number), broker=HERE) for number in range(3)]
    (orphan,) = orphans(*pods)
    assert (orphan.pool, orphan.where) == (KEY, (BrokerSource(KEY.namespace, HERE), ""))


def test_pods_of_a_pool_that_has_moved_name_where_they_are() -> None:
    there = BrokerSpec(url="redis://there:6379/0", layout=QueueLayout("old:"))
    (orphan,) = orphans(
        pod_body("ml-1", "1", broker=HERE), pod_body("ml-2", "2", broker=there), pool=pool_body(url=HERE.url)
    )
    assert (orphan.pod, orphan.where) == ("ml-2", (BrokerSource(KEY.namespace, THERE), "old:"))


def test_a_pod_whose_annotation_is_no_broker_spoils_no_other() -> None:
    strange = pod_body("ml-1", "1", broker=HERE)
    (name,) = strange["metadata"]["annotations"]
    strange["metadata"]["annotations"][name] = "{"
    found = orphans(strange, pod_body("ml-2", "2", broker=THERE), pod_body("ml-3", "3"))
    assert [type(orphan.where) for orphan in found] == [InvalidPool, tuple]
