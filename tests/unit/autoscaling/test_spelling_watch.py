"""A queue to which no message comes, beside one that is called nearly the same; in virtual time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.autoscaling.spelling_watch import (
    ASK_AGAIN_SECONDS,
    ASK_SECONDS,
    LOOK_SECONDS,
    UNUSED_SECONDS,
    SpellingWatch,
)
from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.pool.model import QueueLayout, WorkerPool
from tests.unit.builders import pools

pytestmark = pytest.mark.unit

HERE = BrokerAddress("redis://here:6379/0")
THERE = BrokerAddress("redis://there:6379/0")


@dataclass
class Used:
    """What is known of a pool."""

    used: frozenset[str] = frozenset()
    read_since: float | None = 0.0
    layout: QueueLayout | None = None


@dataclass
class Names:
    """A broker that knows these names."""

    names: set[str] = field(default_factory=set)
    doubt: BrokerDoubt | None = None
    asked: int = 0

    async def known(self, layout: QueueLayout, names: Sequence[str]) -> Sequence[str]:
        self.asked += 1
        if self.doubt is not None:
            raise self.doubt
        return [name for name in names if name in self.names]


class Life:
    """Some pools on two brokers, and a clock."""

    def __init__(self, *made: tuple[str, str, BrokerAddress]) -> None:
        self.now = 0.0
        self.names: dict[BrokerAddress, Names] = {HERE: Names(), THERE: Names()}
        self.uses: dict[PoolKey, Used] = {}
        self.readable: dict[BrokerAddress, list[WorkerPool]] = {}
        self.watch = SpellingWatch(lambda: self.now)
        for name, queue, address in made:
            namespace, _, pool = name.rpartition("/")
            key = PoolKey(namespace or "shop", pool)
            self.readable.setdefault(address, []).append(pools.pool(key=key, uid=name, queues=(queue,)))
            self.uses[key] = Used()

    async def passes(self, seconds: float) -> list[PoolKey]:
        """Which pools' words have changed by then."""
        changed: list[PoolKey] = []
        for _ in range(int(seconds / 0.5)):
            changed += self.watch.look(self.readable, self.uses, self.names.get)
            await self.watch.settle()
            self.now += 0.5
        return changed

    def told(self, pool: str) -> str:
        namespace, _, name = pool.rpartition("/")
        return self.watch.of(PoolKey(namespace or "shop", name)) or ""


async def test_two_pools_that_spell_a_queue_differently_are_both_told_until_messages_come() -> None:
    life = Life(("a", "ml_service", HERE), ("b", "ml-service", HERE), ("c", "other", HERE))
    assert await life.passes(UNUSED_SECONDS) == []
    assert sorted(await life.passes(LOOK_SECONDS)) == [PoolKey("shop", "a"), PoolKey("shop", "b")]
    assert "no message has come to queue 'ml_service', and pool b reads queue 'ml-service'" in life.told("a")
    assert life.told("c") == ""
    life.uses[PoolKey("shop", "b")].used = frozenset({"ml-service"})
    assert await life.passes(LOOK_SECONDS) == [PoolKey("shop", "b")]
    assert life.told("a")
    life.uses[PoolKey("shop", "a")].used = frozenset({"ml_service"})
    assert await life.passes(LOOK_SECONDS) == [PoolKey("shop", "a")]
    assert life.told("a") == ""


async def test_pools_of_other_namespaces_and_brokers_are_nobodys_business() -> None:
    life = Life(("shop/a", "ml_service", HERE), ("farm/a", "ml-service", HERE), ("shop/b", "ml-service", THERE))
    assert await life.passes(2 * UNUSED_SECONDS) == []


async def test_a_name_that_the_broker_knows_is_told_and_the_same_is_not_asked_again_for_hours() -> None:
    life = Life(("a", "ml_servce", HERE))
    life.names[HERE].names = {"ml_service", "ml_servces2"}
    assert await life.passes(UNUSED_SECONDS + 2 * LOOK_SECONDS) == [PoolKey("shop", "a")]
    assert "and the broker knows queue 'ml_service'" in life.told("a")
    await life.passes(ASK_AGAIN_SECONDS - 4 * LOOK_SECONDS)
    assert life.names[HERE].asked == 1
    await life.passes(8 * LOOK_SECONDS)
    assert life.names[HERE].asked == 2


async def test_of_many_idle_pools_one_is_asked_for_at_a_time() -> None:
    life = Life(*((f"p{number}", f"queue-{number}", HERE) for number in range(200)))
    await life.passes(UNUSED_SECONDS + 10 * LOOK_SECONDS)
    assert life.names[HERE].asked <= 10 * LOOK_SECONDS / ASK_SECONDS


async def test_a_pool_that_is_not_read_or_whose_broker_refuses_is_not_told() -> None:
    life = Life(("a", "ml_servce", HERE), ("b", "mail_outbond", THERE))
    life.names[HERE].names = {"ml_service"}
    life.names[THERE].doubt = BrokerDoubt(Reason.BROKER_PERMISSION_DENIED, "no right")
    life.uses[PoolKey("shop", "a")].read_since = None
    assert await life.passes(2 * UNUSED_SECONDS) == []
