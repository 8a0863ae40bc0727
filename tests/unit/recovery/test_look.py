"""A look at a broker, in virtual time: what is wrong with one pool is nothing to the others."""

import math
from dataclasses import replace

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import RegistryEntry
from celeriac.brokers.connect import place_of
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.pool.model import BrokerSpec
from celeriac.recovery.gone import NodeQuestion, PodQuestion
from tests.unit.builders.cluster import pod_body
from tests.unit.recovery.world import AWAY, DENIED, URL, World

pytestmark = pytest.mark.unit

PLACE = place_of(BrokerAddress(URL))
EVIL = "redis://evil:6379/0"
BROKEN = [
    DENIED,
    BrokerDoubt(Reason.BROKER_WRONG_TYPE, "key 'celeriac:b:processes' is no hash"),
    BrokerDoubt(Reason.REGISTRATION_UNREADABLE, "1 of 3 entries cannot be understood"),
]


def two_pools() -> World:
    """Pool A with worker a, pool B with worker b, on one Redis; all is well."""
    world = World()
    world.pool("ml", "A", url=URL)
    world.pool("video", "B", url=URL)
    world.worker("a", "ml", "A")
    world.worker("b", "video", "B")
    world.live(6)
    return world


def test_a_pod_that_ended_is_found_at_once_and_one_that_was_deleted_by_force_after_half_a_minute() -> None:
    world = two_pools()
    world.end("a")
    world.live(2)
    assert world.gone == [("ml-a", "its Pod has ended")]
    world.vanish("b")
    world.live(29)
    assert (world.gone[1:], world.unresolved) == ([], {"B"})
    world.live(8)
    assert world.gone[1:] == [("ml-b", "its Pod is gone")]
    world.live(6)
    assert world.unresolved == set()


def test_who_reports_lives_whatever_became_of_its_pod_and_the_api_server_is_not_asked() -> None:
    world = two_pools()
    world.vanish("a", reports=True)
    world.live(120)
    assert (world.gone, world.unresolved) == ([], {"A"})
    assert [each for each in world.asked if isinstance(each, PodQuestion)] == []


@pytest.mark.parametrize("broken", BROKEN, ids=lambda doubt: doubt.reason)
def test_a_registry_key_of_one_pool_that_is_broken_stops_no_other_pool(broken: BrokerDoubt) -> None:
    world = two_pools()
    world.doubts["B"] = broken
    world.vanish("a")
    world.live(40)
    assert world.gone == [("ml-a", "its Pod is gone")]
    assert world.unresolved == {"B"}, "unknown is never idle"
    assert world.places.doubts() == {broken.reason: 1}
    del world.doubts["B"]
    world.live(6)
    assert (world.unresolved, dict(world.places.doubts())) == (set(), {})


def test_trouble_with_one_pool_begins_no_silence_of_another_anew() -> None:
    """B is in trouble every few seconds; A's worker has been silent all the while."""
    world = two_pools()
    world.vanish("a")
    for _ in range(8):
        world.doubts["B"] = BROKEN[1]
        world.live(2.5)
        del world.doubts["B"]
        world.live(2.5)
    assert world.gone == [("ml-a", "its Pod is gone")]


def test_whose_reports_cannot_be_read_is_not_taken_for_silent() -> None:
    world = two_pools()
    world.deaf.add("B")
    world.doubts["B"] = BROKEN[1]
    world.vanish("b", reports=True)
    world.live(120)
    assert (world.gone, world.unresolved) == ([], {"B"})
    world.end("b")
    world.live(6)
    assert world.gone == [("ml-b", "its Pod has ended")], "that needs no report"


def test_while_the_broker_is_away_nobody_can_report_so_that_silence_begins_anew() -> None:
    world = two_pools()
    world.vanish("a")
    world.live(20)
    world.down[URL] = AWAY
    world.live(120)
    assert (world.gone, world.unresolved) == ([], {"A", "B"})
    del world.down[URL]
    world.live(28)
    assert world.gone == []
    world.live(10)
    assert world.gone == [("ml-a", "its Pod is gone")]


def test_without_an_answer_of_the_api_server_nothing_is_put_back() -> None:
    world = two_pools()
    world.vanish("a")
    world.away = True
    world.live(90)
    assert world.gone == []
    world.away = False
    world.live(2)
    assert world.gone == [("ml-a", "its Pod is gone")]


def test_a_node_is_asked_about_once_for_all_its_silent_workers() -> None:
    world = two_pools()
    for name in ("a", "b"):
        place, made, _ = world.workers[name]
        world.workers[name] = place, made, False
    world.live(40)
    world.asked.clear()
    world.look(world.places.all[PLACE])
    assert world.asked == [NodeQuestion("n1")]
    assert world.gone == []


def test_a_pool_whose_first_look_fails_is_not_idle() -> None:
    world = World()
    world.pool()
    world.down[URL] = AWAY
    world.tick()
    assert world.unresolved == {"pool"}
    del world.down[URL]
    world.live(6)
    assert world.unresolved == set()


def test_a_uid_that_somebody_writes_into_another_broker_holds_up_no_pool_of_that_uid() -> None:
    """Anybody may write to a broker of their own: the pool was never there."""
    world = two_pools()
    elsewhere = "redis://evil:6379/0"
    world.pool("evil", "E", url=elsewhere)
    world.worker("x", "ml", "A", url=elsewhere)
    world.vanish("x", reports=True)
    world.live(60)
    assert world.unresolved == set()
    world.doubts["A"] = BROKEN[0]
    world.live(6)
    assert world.unresolved == {"A"}, "at home it counts"


def of_a_tenant() -> World:
    """Pool A of namespace `shop`, and a tenant's pool E with a Pod of its deleted pool `ml`, on a Redis of its own."""
    world = two_pools()
    world.pool("mine", "E", namespace="evil", url=EVIL)
    world.pod("ml-1", "ml", BrokerSpec(url=EVIL), "evil")
    world.live(6)
    return world


def test_a_uid_of_anothers_pool_is_none_in_a_registry_that_names_it_as_a_pool_of_the_tenants_own() -> None:
    world = of_a_tenant()
    world.keys["A2"] = PoolKey("evil", "ml")
    world.worker("x", "ml", "A2", url=EVIL, namespace="evil")
    lie, place = world.workers.pop("x")[1], place_of(BrokerAddress(EVIL))
    world.workers["x"] = place, replace(lie, pool_uid="A"), True
    world.listed[place, ""] = {"A"}
    world.keys["A"] = PoolKey("evil", "ml")
    world.vanish("x", reports=True)
    world.doubts["A"] = BROKEN[2]
    there = world.places.all[place]
    world.look(there)
    assert (there.unresolved, there.strangers, RegistryEntry("", "A") in there.pools) == (
        frozenset(),
        (RegistryEntry("", "A"),),
        False,
    )
    world.live(60)
    assert (world.unresolved, world.gone, world.places.strangers()) == ({"A"}, [], 1), "A is in doubt at its own home"


@pytest.mark.parametrize("namespace", ["shop", "kube-system"])
def test_nobody_is_asked_about_a_process_of_a_namespace_that_is_not_its_pools_and_nothing_is_moved(
    namespace: str,
) -> None:
    """It is told as what it is: a registration that nobody can heed."""
    world = of_a_tenant()
    world.worker("e", "mine", "E", url=EVIL, namespace="evil")
    world.worker("x", "mine", "E", url=EVIL, namespace=namespace)
    for name in ("e", "x"):
        world.vanish(name)
    world.live(60)
    asked = {each.namespace for each in world.asked if isinstance(each, PodQuestion)}
    assert (asked, world.gone) == ({"evil"}, [("ml-e", "its Pod is gone")])
    assert world.unresolved == {"E"}
    assert world.places.doubts() == {Reason.REGISTRATION_UNREADABLE: 1}


def test_the_pod_of_another_namespace_is_no_proof_of_anything() -> None:
    world = of_a_tenant()
    world.worker("e", "mine", "E", url=EVIL, namespace="evil")
    place, lie, _ = world.workers["e"]
    world.workers["e"] = place, replace(lie, pod_uid="b"), False
    ended = pod_body("ml-b", "b", pool="video", ended_at="2026-01-01T00:00:00Z")
    world.store.pod_event(ended, deleted=False)
    world.live(20)
    assert world.gone == []


def test_a_pool_that_nobody_saw_is_heard_of_where_another_of_its_namespace_uses_the_broker() -> None:
    world = two_pools()
    world.worker("x", "gone", "G")
    world.worker("y", "gone", "H", namespace="nobody")
    for name in ("x", "y"):
        world.end(name)
    world.live(6)
    assert world.gone == [("ml-x", "its Pod has ended")]
    assert world.places.all[PLACE].strangers == (RegistryEntry("", "H"),)
    assert world.unresolved == set()


def test_a_namespace_whose_pods_have_named_a_broker_is_heard_of_there_after_they_are_gone() -> None:
    """Its pool was deleted while nobody looked; of its Pods, too, nothing is left before they are certainly gone."""
    world = two_pools()
    world.worker("x", "gone", "G", namespace="other")
    world.pod("gone-1", "gone", BrokerSpec(url=URL), "other")
    world.live(6)
    for uid, namespace in (("gone-1", "other"), ("x", "shop")):
        world.store.pod_event(pod_body(uid, uid, pool="gone", namespace=namespace), deleted=True)
    world.workers["x"] = *world.workers["x"][:2], False
    world.live(60)
    assert world.gone == [("ml-x", "its Pod is gone")]


def test_pools_of_namespaces_that_others_serve_are_neither_judged_nor_forgotten() -> None:
    world = two_pools()
    world.worker("x", "theirs", "T", namespace="theirs")
    world.namespaces = ("shop",)
    world.vanish("x")
    world.live(60)
    assert world.gone == []
    assert RegistryEntry("", "T") not in world.places.all[PLACE].pools
    assert world.unresolved == set()


def test_a_deleted_pool_is_forgotten_once_nothing_of_it_is_registered_nor_left_to_run() -> None:
    world = two_pools()
    world.store.pool_event({"metadata": {"namespace": "shop", "name": "ml", "uid": "A"}, "spec": {}}, deleted=True)
    world.live(20)
    assert "A" in world.listed[PLACE, ""]
    world.end("a")
    world.live(12)
    assert (world.gone, world.listed[PLACE, ""]) == ([("ml-a", "its Pod has ended")], {"B"})


def test_what_cannot_be_read_of_a_deleted_pool_keeps_its_keys() -> None:
    world = two_pools()
    world.doubts["B"] = BROKEN[2]
    world.delete_pool("video")
    world.vanish("b")
    del world.workers["b"]
    world.live(60)
    assert "B" in world.listed[PLACE, ""]


def test_plain_workers_messages_are_taken_over_when_they_are_as_old_as_the_workers_say() -> None:
    world = World()
    world.pool()
    world.live(6)
    assert world.last[PLACE].take_overs == (), "nobody knows how old that is"
    world.worker("a", visibility_timeout=600.0)
    world.worker("b", visibility_timeout=1200.0)
    world.live(6)
    assert world.last[PLACE].take_overs == (RegistryEntry("", "pool"),)
    assert world.places.all[PLACE].pools[RegistryEntry("", "pool")].visibility_timeout == 1200.0


def test_where_the_visibility_timeout_is_endless_nothing_is_ever_taken_over() -> None:
    world = World()
    world.pool()
    world.worker("a", visibility_timeout=math.inf)
    world.live(30)
    assert world.last[PLACE].take_overs == ()
    world.end("a")
    world.live(6)
    assert world.gone == [("ml-a", "its Pod has ended")]


def test_a_pool_without_the_agent_needs_no_right_to_registries() -> None:
    world = World()
    world.pool("plain", "P", url=URL, agent="disabled")
    world.doubts["P"] = DENIED
    world.live(30)
    assert (world.unresolved, dict(world.places.doubts())) == (set(), {})
    world.doubts["P"] = BROKEN[1]
    world.live(6)
    assert world.places.doubts() == {BROKEN[1].reason: 1}, "a broken key is told all the same"


def test_a_pool_that_had_the_agent_is_in_doubt_where_its_registry_may_not_be_read_any_more() -> None:
    world = two_pools()
    world.pool("ml", "A", url=URL, agent="disabled")
    world.doubts["A"] = DENIED
    world.live(6)
    assert world.unresolved == {"A"}


def test_a_pod_that_vanished_is_looked_for_at_once_so_that_its_pool_does_not_go_to_zero_meanwhile() -> None:
    world = two_pools()
    for phase in range(10):
        world.live(0.5 * phase)
        world.vanish("a")
        world.live(0.5)
        assert world.unresolved == {"A"}, f"{phase / 2} s after a look"
        world = two_pools()


def test_a_worker_whose_registration_was_removed_is_missed_and_put_back_once_it_is_gone() -> None:
    world = two_pools()
    world.unregistered.add("a")
    world.live(60)
    assert (world.gone, world.unresolved) == ([], {"A"}), "it lives, and holds what nobody else knows of"
    [doubt] = world.places.all[PLACE].pools[RegistryEntry("", "A")].doubts
    assert (doubt.reason, "ml-a.00000001" in str(doubt)) == (Reason.REGISTRATION_UNREADABLE, True)
    world.vanish("a", reports=True)
    world.live(60)
    assert world.gone == [], "its reports still come"
    world.vanish("a")
    world.live(40)
    assert world.gone == [("ml-a", "its Pod is gone")]
    world.live(6)
    assert (world.unresolved, dict(world.places.doubts())) == (set(), {})


def test_a_worker_that_left_in_good_order_is_not_missed() -> None:
    world = two_pools()
    del world.workers["a"]
    world.live(6)
    assert (world.gone, world.unresolved, dict(world.places.doubts())) == ([], set(), {})


def test_a_worker_whose_registration_was_removed_is_well_when_it_has_registered_again() -> None:
    world = two_pools()
    world.unregistered.add("a")
    world.live(6)
    world.unregistered.clear()
    world.live(6)
    assert (world.gone, world.unresolved, dict(world.places.doubts())) == ([], set(), {})
