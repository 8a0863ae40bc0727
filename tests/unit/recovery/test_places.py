"""Where processes are registered, whatever becomes of passwords, Secrets and pools; in virtual time."""

import pytest

from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import RegistryEntry
from celeriac.brokers.connect import place_of
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.connecting.credentials import BrokerSource
from celeriac.pool.model import BrokerSpec, QueueLayout, SecretKey, WorkerPool
from celeriac.recovery import places
from celeriac.recovery.places import GIVE_UP_SECONDS
from tests.unit.builders.cluster import pool_body, secret_of
from tests.unit.recovery.world import AWAY, REFUSED, URL, World

pytestmark = pytest.mark.unit

OLD, NEW = "redis://:old@redis:6379/0", "redis://:new@redis:6379/0"
PLACE = place_of(BrokerAddress(URL))
ENTRY = RegistryEntry("", "pool")
SECRET_GONE = BrokerDoubt(Reason.SECRET_NOT_FOUND, "Secret shop/broker does not exist")
SPOILT = BrokerDoubt(Reason.BROKER_WRONG_TYPE, "key 'celeriac:pool:processes' is no hash")
OF_SECRET = BrokerSpec(url_from=SecretKey("broker", "url"))


def with_secret() -> World:
    """A pool whose URL is in the Secret `broker`, with one worker."""
    world = World()
    world.secrets["broker"] = OLD
    world.pool(urlFrom=secret_of("broker"))
    world.worker("a")
    world.live(6)
    return world


def rotate(world: World) -> None:
    """The broker takes the new password only, and the Secret holds it."""
    world.down[OLD] = REFUSED
    world.secrets["broker"] = NEW


def addresses(world: World) -> set[str]:
    """URLs of the connections that are needed."""
    return {address.url for address in world.places.addresses()}


def test_a_rotated_password_leads_to_the_same_place_and_the_old_connection_is_let_go() -> None:
    world = with_secret()
    rotate(world)
    world.live(2 * GIVE_UP_SECONDS, tick=5.0)
    assert (list(world.places.all), addresses(world), world.given_up) == ([PLACE], {NEW}, [])
    world.end("a")
    world.live(2)
    assert world.gone == [("ml-a", "its Pod has ended")]


def test_a_rotation_begins_no_silence_anew_while_the_registry_could_be_read() -> None:
    world = with_secret()
    world.vanish("a")
    world.live(20)
    world.secrets["broker"] = NEW
    world.live(18)
    assert world.gone == [("ml-a", "its Pod is gone")]


def test_a_password_that_is_rotated_after_the_pool_was_deleted_is_found() -> None:
    world = with_secret()
    world.delete_pool()
    world.live(10)
    rotate(world)
    world.live(10)
    world.end("a")
    world.live(6)
    assert world.gone == [("ml-a", "its Pod has ended")]
    world.live(12)
    assert (world.places.all, addresses(world)) == ({}, set()), "nothing is left there, and no connection"


def test_pods_whose_pool_nobody_here_has_seen_lead_to_the_newest_password() -> None:
    world = World()
    world.secrets["broker"] = OLD
    world.worker("a", broker=OF_SECRET)
    world.live(6)
    rotate(world)
    world.live(6)
    assert addresses(world) == {NEW}
    world.end("a")
    world.live(6)
    assert world.gone == [("ml-a", "its Pod has ended")]


def test_a_secret_that_is_gone_for_a_while_changes_nothing_as_long_as_the_password_is_right() -> None:
    world = with_secret()
    world.secrets["broker"] = SECRET_GONE
    world.live(60)
    assert (world.unresolved, world.places.all[PLACE].pools[ENTRY].lives) == (set(), True)
    world.end("a")
    world.live(2)
    assert world.gone == [("ml-a", "its Pod has ended")]


def test_what_led_to_a_deleted_pool_is_told_with_the_doubt_when_it_is_gone_too() -> None:
    world = with_secret()
    world.delete_pool()
    world.secrets["broker"] = SECRET_GONE
    world.down[OLD] = REFUSED
    world.end("a")
    world.live(30)
    (doubt,) = world.places.all[PLACE].pools[ENTRY].doubts
    assert doubt.reason == Reason.BROKER_AUTHENTICATION_FAILED
    assert str(SECRET_GONE) in str(doubt)


def test_a_refused_password_is_tried_less_and_less_often_and_a_new_one_at_once() -> None:
    world = with_secret()
    world.down[OLD] = REFUSED
    world.live(300)
    world.read_with.clear()
    tries = 0
    way = next(iter(world.places.all[PLACE].ways.values()))
    for _ in range(600):
        before = way.try_at
        world.live(0.5)
        tries += way.try_at != before
    assert 4 <= tries <= 6, "about once a minute"
    world.secrets["broker"] = NEW
    world.live(6)
    assert world.read_with != []


def test_a_deleted_pool_that_cannot_be_read_is_given_up_after_an_hour_and_then_really_is() -> None:
    world = with_secret()
    world.delete_pool()
    world.vanish("a")
    world.down[OLD] = AWAY
    world.live(GIVE_UP_SECONDS - 10, tick=5.0)
    assert world.given_up == []
    world.live(30)
    assert [entry for entry, _ in world.given_up] == [ENTRY]
    del world.down[OLD]
    world.live(60)
    assert (world.places.all, addresses(world), world.gone) == ({}, set(), [])


def test_a_pool_whose_url_is_changed_all_the_time_leaves_a_bounded_number_of_brokers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What its workers held where they were seen is looked for before all else."""
    monkeypatch.setattr(places, "MOST_BROKERS_LEFT", 10)
    world = World()
    world.pool()
    world.worker("a")
    world.live(6)
    world.vanish("a")
    world.down[URL] = AWAY
    for number in range(40):
        world.down[f"redis://nowhere:6379/{number}"] = AWAY
        world.pool(url=f"redis://nowhere:6379/{number}")
        world.live(1)
    assert 10 <= len(world.places.all) <= 12
    assert PLACE in world.places.all
    del world.down[URL]
    world.live(80)
    assert world.gone == [("ml-a", "its Pod is gone")]


def test_brokers_that_say_for_ever_that_a_worker_lives_there_are_not_kept_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever runs them can write what they like."""
    monkeypatch.setattr(places, "MOST_BROKERS_LEFT", 10)
    world = World()
    for number in range(40):
        url = f"redis://mine:6379/{number}"
        world.pool(url=url)
        world.worker(f"w-{number}", url=url)
        world.live(6)
    assert len(world.places.all) <= 12


def test_pools_that_are_made_and_deleted_all_the_time_leave_a_bounded_number_of_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "MOST_POOLS_LEFT", 10)
    world = World()
    world.down[URL] = AWAY
    for number in range(40):
        world.pool(f"ml-{number}", f"uid-{number}")
        world.live(1)
        world.store.pool_event(pool_body(f"ml-{number}", f"uid-{number}"), deleted=True)
        world.live(0.5)
    world.live(6)
    assert len(world.places.all[PLACE].pools) == 10
    assert len(world.given_up) == 30


def test_what_a_pool_or_its_pods_still_name_is_never_given_up() -> None:
    world = with_secret()
    world.worker("b", "video", "B", broker=OF_SECRET)
    world.live(6)
    world.down[OLD] = AWAY
    world.live(2 * GIVE_UP_SECONDS, tick=5.0)
    assert world.given_up == []
    del world.down[OLD]
    world.end("a")
    world.end("b")
    world.live(6)
    assert sorted(world.gone) == [("ml-a", "its Pod has ended"), ("ml-b", "its Pod has ended")]


def test_a_deleted_pool_is_not_given_up_while_another_pool_reads_the_same_broker() -> None:
    world = with_secret()
    world.pool("video", "B", url=URL)
    world.live(6)
    world.delete_pool()
    world.vanish("a")
    world.down[OLD] = REFUSED
    world.live(2 * GIVE_UP_SECONDS, tick=5.0)
    assert (world.given_up, world.gone) == ([], [("ml-a", "its Pod is gone")]), "it was read with the other's password"


def test_a_deleted_pool_whose_keys_somebody_has_spoilt_is_not_given_up_while_the_registry_lists_it() -> None:
    """It would be found again by the next look: to say that nobody looks any more would not be true."""
    world = with_secret()
    world.pool("video", "B", url=URL)
    world.delete_pool()
    world.vanish("a")
    world.doubts["pool"] = SPOILT
    world.live(2 * GIVE_UP_SECONDS, tick=5.0)
    assert world.given_up == []
    assert dict(world.places.doubts()) == {Reason.BROKER_WRONG_TYPE: 1}


def test_several_users_of_one_broker_read_each_their_own_registry() -> None:
    """ACL users that may only touch keys of their prefix."""
    world = World()
    shop, video = "redis://shop:s@redis:6379/0", "redis://video:v@redis:6379/0"
    world.secrets |= {"shop": shop, "video": video}
    world.pool("ml", "A", urlFrom=secret_of("shop"), keyPrefix="shop:")
    world.pool("video", "B", urlFrom=secret_of("video"), keyPrefix="video:")
    world.worker("a", "ml", "A", prefix="shop:")
    world.worker("b", "video", "B", prefix="video:")
    world.denied |= {(shop, "B"), (video, "A")}
    world.live(6)
    assert (list(world.places.all), world.unresolved) == ([PLACE], set())
    world.down[video] = REFUSED
    world.end("a")
    world.end("b")
    world.live(6)
    assert world.gone == [("ml-a", "its Pod has ended")]
    assert world.unresolved == {"B"}


def test_a_deleted_pool_whose_user_is_gone_is_read_by_the_next_that_uses_its_registry() -> None:
    world = World()
    world.secrets |= {"one": "redis://one:1@redis:6379/0", "two": "redis://two:2@redis:6379/0"}
    world.pool("ml", "A", urlFrom=secret_of("one"))
    world.pool("video", "B", urlFrom=secret_of("two"))
    world.worker("a", "ml", "A")
    world.live(6)
    world.delete_pool("ml")
    world.denied.add(("redis://one:1@redis:6379/0", "A"))
    world.end("a")
    world.live(6)
    assert world.gone == [("ml-a", "its Pod has ended")]


def test_a_url_that_names_another_host_is_another_place_and_the_old_one_is_left_in_the_end() -> None:
    world = with_secret()
    moved = "redis://:new@elsewhere:6379/0"
    world.secrets["broker"] = moved
    world.live(10)
    there = place_of(BrokerAddress(moved))
    assert set(world.places.all) == {PLACE, there}
    assert addresses(world) == {OLD, moved}, "the old one by the address that was known of it"
    world.end("a")
    world.live(12)
    assert world.gone == [("ml-a", "its Pod has ended")]
    assert (set(world.places.all), addresses(world)) == ({there}, {moved})


def test_a_pool_that_names_another_secret_for_the_same_broker_stays_where_it_is() -> None:
    world = with_secret()
    world.secrets["renamed"] = NEW
    world.pool(urlFrom=secret_of("renamed"))
    world.live(6)
    assert (list(world.places.all), addresses(world)) == ([PLACE], {NEW})
    assert world.places.all[PLACE].pools[ENTRY].lives


def test_a_pool_that_gets_another_key_prefix_leaves_its_old_registry_when_nothing_is_left_there() -> None:
    world = with_secret()
    world.pool(urlFrom=secret_of("broker"), keyPrefix="new:")
    world.live(10)
    pools = world.places.all[PLACE].pools
    assert {entry: pool.lives for entry, pool in pools.items()} == {ENTRY: False, RegistryEntry("new:", "pool"): True}
    world.end("a")
    world.live(12)
    assert set(pools) == {RegistryEntry("new:", "pool")}


def test_a_pool_whose_spec_is_broken_for_a_while_keeps_what_it_has() -> None:
    world = with_secret()
    world.pool(url="not a url", urlFrom=secret_of("broker"))
    world.live(30)
    assert world.places.all[PLACE].pools[ENTRY].lives
    assert all(ENTRY not in each.forgotten for each in world.last.values())


def test_sentinels_and_their_master_are_one_place_for_all_passwords() -> None:
    world = World()
    world.secrets["broker"] = "sentinel://:old@one:26379/0;sentinel://two:26379"
    world.pool(urlFrom=secret_of("broker"), sentinelMaster="main")
    world.live(6)
    (place,) = world.places.all
    world.secrets["broker"] = "sentinel://:new@one:26379/0;sentinel://two:26379"
    world.live(6)
    assert list(world.places.all) == [place]
    assert "old" not in place


def test_a_registry_with_a_prefix_is_named_by_pods_only_for_their_own_pool() -> None:
    world = with_secret()
    broker = BrokerSpec(url_from=SecretKey("broker", "url"), layout=QueueLayout("old:"))
    world.worker("b", prefix="old:", broker=broker)
    world.live(6)
    assert RegistryEntry("old:", "pool") in world.places.all[PLACE].pools
    assert world.places.all[PLACE].is_ours(RegistryEntry("old:", "pool"))


def test_a_pool_that_nobody_has_looked_at_yet_is_not_kept_from_being_idle() -> None:
    """Its idle clock goes on from where the last leader left it."""
    world = World()
    world.pool("ml", "A", url=URL)
    [known] = world.store.pools.values()
    assert isinstance(known.spec, WorkerPool)
    world.places.follow([known], [], {BrokerSource.of_pool(known.spec): BrokerAddress(URL)})
    assert [pool.lives for pool in world.places.all[PLACE].pools.values()] == [True]
    assert world.unresolved == set()


def test_a_mistyped_url_that_was_corrected_keeps_nobody_awake_and_is_not_told_of_any_more() -> None:
    world = World()
    wrong = "redis://nobody.nowhere:6379/0"
    world.down[wrong] = AWAY
    world.pool("ml", "A", url=wrong)
    world.live(20)
    assert (world.unresolved, dict(world.places.doubts())) == ({"A"}, {AWAY.reason: 1})
    world.pool("ml", "A", url=URL)
    world.live(20)
    assert (world.unresolved, dict(world.places.doubts())) == (set(), {})
    world.live(GIVE_UP_SECONDS, tick=5)
    assert list(world.places.all) == [PLACE]


def test_a_broker_that_a_pool_has_left_with_workers_registered_still_counts_when_it_goes_away() -> None:
    world = World()
    old = "redis://old:6379/0"
    world.pool("ml", "A", url=old)
    world.worker("a", "ml", "A", url=old)
    world.live(6)
    world.pool("ml", "A", url=URL)
    world.down[old] = AWAY
    world.live(6)
    assert (world.unresolved, dict(world.places.doubts())) == ({"A"}, {AWAY.reason: 1})
