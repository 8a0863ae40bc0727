"""What follows a look: each pool by itself, each told once, and nobody's event by what a registry says of names."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from celeriac.api.authority import Authority
from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.agents import NotAllRestored, Process, RegisteredPool, RegistryEntry, RegistryList, Restored
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.connecting.credentials import BrokerSource
from celeriac.pool.model import QueueLayout
from celeriac.recovery.gone import Verdict
from celeriac.recovery.look import Findings, Look
from celeriac.recovery.place import Place, PoolHere, Way
from celeriac.recovery.restorer import TAKE_OVER_SECONDS, Restorer
from celeriac.recovery.sightings import name_of
from celeriac.recovery.tidings import AGAIN_SECONDS, Tidings
from celeriac.telemetry.metrics import Metrics
from tests.unit.builders.pools import pool
from tests.unit.builders.tellers import Listener
from tests.unit.builders.workers import process

pytestmark = pytest.mark.unit

WRONG = BrokerDoubt(Reason.BROKER_WRONG_TYPE, "key 'mail' is no list")
AWAY = BrokerDoubt(Reason.BROKER_CONNECTION_FAILED, "cannot be reached")
ADDRESS = BrokerAddress("redis://redis:6379/0")
ENDED = Verdict(False, "its Pod has ended")
A, B = RegistryEntry("", "A"), RegistryEntry("", "B")
KEYS = {"A": PoolKey("shop", "ml"), "B": PoolKey("shop", "video")}


@dataclass
class Shelf:
    """What a broker would do: `broken` says what goes wrong with which process or pool."""

    broken: dict[str, Exception] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def _do(self, what: str, name: str) -> Restored:
        if name in self.broken:
            raise self.broken[name]
        self.done.append(f"{what} {name}")
        return Restored(restored=1)

    async def restore(self, gone: Process, *, died: bool) -> Restored:
        return self._do("restore", gone.pod)

    async def take_over(self, layout: QueueLayout, queues: Any, *, older_than_seconds: float) -> Restored:
        return self._do("take over", layout.key_prefix)

    async def forget_pool(self, entry: RegistryEntry) -> None:
        self._do("forget", entry.pool_uid)


class Bench:
    """Pools A and B of one broker that have been looked at."""

    def __init__(self, *, sees_all: bool = True) -> None:
        self.now, self.acts = 1000.0, True
        listener = Listener()
        self.told = listener.told
        self.metrics = Metrics()
        self.tidings = Tidings(self.metrics, listener)
        self.shelf = Shelf()
        source = BrokerSource.of_pool(pool())
        self.place = Place("Redis at redis:6379", ways={source: Way(ADDRESS, {""})})
        self.place.living = KEYS
        for entry in (A, B):
            spec = pool(key=KEYS[entry.pool_uid], uid=entry.pool_uid)
            self.place.pools[entry] = PoolHere(KEYS[entry.pool_uid], True, source, spec, 600.0)
        look = Look(self.place, (), self.now)
        look.listed(ADDRESS, {"": RegistryList()})
        look.registered(ADDRESS, {A: RegisteredPool(), B: RegisteredPool()})
        self.restorer = Restorer(
            self.place,
            look,
            {ADDRESS: self.shelf},  # type: ignore[dict-item]  # only what is written is asked of it here
            Authority(lambda: self.acts, lambda: True),
            self.tidings,
            lambda: self.now,
            sees_all=sees_all,
        )

    async def carry_out(self, **found: Any) -> list[PoolHere]:
        nothing = Findings((), frozenset(), (), (), False)
        return await self.restorer.carry_out(replace(nothing, **found))

    @property
    def unresolved(self) -> set[str]:
        return set(self.place.unresolved)

    def count(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def worker(name: str, uid: str, **fields: Any) -> Process:
    return process(name, pool=KEYS[uid].name, pool_uid=uid, **fields)


async def test_what_one_worker_held_and_cannot_be_put_back_keeps_nobody_elses_away() -> None:
    bench = Bench()
    bench.shelf.broken["ml-a"] = WRONG
    await bench.carry_out(gone=((worker("a", "A"), ENDED), (worker("b", "B"), ENDED)))
    assert bench.shelf.done == ["restore ml-b"]
    assert bench.unresolved == {"A"}, "it still holds something, so that its pool is not idle"
    warning, restored = bench.told
    assert (warning.pool, warning.type, warning.reason) == (KEYS["A"], "Warning", Reason.BROKER_WRONG_TYPE)
    assert (restored.pool, restored.type, restored.reason) == (KEYS["B"], "Normal", Reason.RESTORED)
    failures = "celeriac_pool_recovery_failures_total"
    assert bench.count(failures, namespace="shop", pool="ml", reason="WrongType") == 1


async def test_a_fault_of_our_own_with_one_worker_keeps_nobody_elses_away(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.shelf.broken["ml-a"] = ValueError("a surprise")
    await bench.carry_out(gone=((worker("a", "A"), ENDED), (worker("b", "B"), ENDED)))
    assert (bench.shelf.done, bench.unresolved) == (["restore ml-b"], {"A"})
    assert "by a fault of the operator" in caplog.text


async def test_what_could_be_put_back_is_told_beside_what_could_not() -> None:
    bench = Bench()
    bench.shelf.broken["ml-a"] = NotAllRestored(WRONG, Restored(restored=3, dead=1))
    await bench.carry_out(gone=((worker("a", "A"), ENDED),))
    assert [notice.reason for notice in bench.told] == [Reason.RESTORED, Reason.BROKER_WRONG_TYPE]
    assert bench.count("celeriac_pool_restored_messages_total", namespace="shop", pool="ml", to="queue") == 3
    assert bench.unresolved == {"A"}


async def test_a_broker_that_goes_away_meanwhile_is_not_tried_for_each_of_a_thousand_workers() -> None:
    bench = Bench()
    bench.shelf.broken["ml-0"] = AWAY
    await bench.carry_out(gone=tuple((worker(str(number), "A"), ENDED) for number in range(1000)))
    assert (bench.shelf.done, bench.unresolved) == ([], {"A"})


async def test_a_take_over_that_fails_is_told_and_keeps_no_other_pool_from_anything() -> None:
    bench = Bench()
    bench.shelf.broken["b:"] = WRONG
    spec = pool(key=KEYS["B"], uid="B")
    bench.place.pools[B].spec = replace(spec, broker=replace(spec.broker, layout=QueueLayout("b:")))
    a = worker("a", "A")
    bench.place.sightings.look([a], {a.entry: {}}, bench.now)
    await bench.carry_out(take_overs=(B, A))
    assert bench.shelf.done == ["take over "]
    assert [(notice.pool, notice.type) for notice in bench.told] == [
        (KEYS["B"], "Warning"),
        (KEYS["A"], "Normal"),
    ]
    assert not bench.place.pools[B].takes_over(bench.now + TAKE_OVER_SECONDS - 1)
    assert bench.place.pools[B].takes_over(bench.now + TAKE_OVER_SECONDS)
    later = bench.place.sightings.look([a], {a.entry: {}}, bench.now + 20)
    assert later[name_of(a)].silent_seconds == 20, "it began no silence anew"


async def test_the_rest_of_a_pool_that_cannot_be_removed_is_tried_again_and_others_are_removed() -> None:
    bench = Bench()
    for each in bench.place.pools.values():
        each.lives = False
    bench.shelf.broken["A"] = WRONG
    done_with = await bench.carry_out(forgotten=(A, B))
    assert ([each.key for each in done_with], set(bench.place.pools)) == ([KEYS["B"]], {A})


async def test_where_labels_leave_pools_to_others_no_keys_of_a_pool_are_removed() -> None:
    bench = Bench(sees_all=False)
    for each in bench.place.pools.values():
        each.lives = False
    done_with = await bench.carry_out(forgotten=(A, B))
    assert ([each.key for each in done_with], bench.shelf.done) == ([KEYS["A"], KEYS["B"]], [])
    assert bench.place.pools == {}, "it has nothing to do there any more"


async def test_a_pool_that_has_come_back_meanwhile_is_not_forgotten() -> None:
    bench = Bench()
    assert await bench.carry_out(forgotten=(A,)) == []
    assert bench.shelf.done == []


async def test_whoever_has_lost_the_lease_writes_nothing_more() -> None:
    bench = Bench()
    bench.acts = False
    await bench.carry_out(gone=((worker("a", "A"), ENDED),), take_overs=(B,))
    assert bench.shelf.done == []


def test_the_same_trouble_is_told_once_until_it_is_over_or_has_lasted_long() -> None:
    bench = Bench()
    pool = bench.place.pools[A]
    for _ in range(100):
        bench.now += 1
        pool.learn(RegisteredPool(doubts=(WRONG,)), (WRONG,), bench.now)
        bench.tidings.looked(bench.place, [], bench.now)
    assert [(notice.pool, notice.type, notice.reason) for notice in bench.told] == [(KEYS["A"], "Warning", "WrongType")]
    pool.learn(RegisteredPool(), (), bench.now)
    bench.tidings.looked(bench.place, [], bench.now)
    for later in (1.0, AGAIN_SECONDS + 1):
        pool.learn(RegisteredPool(doubts=(WRONG,)), (WRONG,), bench.now)
        bench.tidings.looked(bench.place, [], bench.now + later)
    assert len(bench.told) == 3
    failures = "celeriac_pool_recovery_failures_total"
    assert bench.count(failures, namespace="shop", pool="ml", reason="WrongType") == 102, "but each is counted"


def test_a_broker_that_is_away_is_one_line_in_the_log_and_no_event_of_each_pool(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Condition BrokerReachable tells it already."""
    bench = Bench()
    for _ in range(10):
        for here in bench.place.pools.values():
            here.learn(None, (AWAY,), bench.now)
        bench.tidings.looked(bench.place, [], bench.now)
    assert (bench.told, len(caplog.records)) == ([], 1)
    assert "pool shop/ml: cannot be reached (and of 1 other pools)" in caplog.text


def test_what_led_to_a_deleted_pools_broker_and_is_gone_too_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    (way,) = bench.place.ways.values()
    way.lost = BrokerDoubt(Reason.SECRET_NOT_FOUND, "Secret shop/broker does not exist")
    bench.tidings.looked(bench.place, [], bench.now)
    assert caplog.records == [], "while the pool is there its condition tells it"
    bench.place.pools[A].lives = False
    for _ in range(10):
        bench.tidings.looked(bench.place, [], bench.now)
    assert len(caplog.records) == 1
    assert "a restart of the operator forgets: Secret shop/broker does not exist" in caplog.text


async def test_what_a_registry_says_of_names_makes_no_event_on_somebody_elses_pool() -> None:
    """A registration of a uid that nobody knows, with the name of a pool that exists."""
    bench = Bench()
    stranger = replace(worker("x", "A"), pool_uid="unknown")
    here = bench.place.pools[stranger.entry] = PoolHere(KEYS["A"])
    here.learn(RegisteredPool((stranger,), doubts=(WRONG,)), (WRONG,), bench.now)
    bench.tidings.looked(bench.place, [], bench.now)
    bench.tidings.restored(bench.place, stranger, ENDED, Restored(restored=1000))
    bench.tidings.not_restored(bench.place, stranger, WRONG, bench.now)
    assert bench.told == []
    assert bench.count("celeriac_pool_restored_messages_total", namespace="shop", pool="ml", to="queue") is None


def test_a_pool_that_is_given_up_is_named_in_the_log_with_the_cure(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    lost = replace(bench.place.pools[A], doubts=(AWAY,), lives=False)
    bench.tidings.given_up(bench.place, A, lost)
    assert "pool shop/ml is gone" in caplog.text
    assert "celeriac evacuate" in caplog.text
    assert str(AWAY) in caplog.text
    assert bench.count("celeriac_given_up_pools_total") == 1
