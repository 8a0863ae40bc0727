"""Which brokers pools have named: known to the next operator, and forgotten when nobody names them any more."""

from collections.abc import Iterable

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.names import BROKERS_ANNOTATION
from celeriac.pool.broker import broker_reference
from celeriac.pool.model import BrokerSpec
from celeriac.recovery.acquaintances import MOST, Acquaintances, digest_of
from celeriac.watching.store import KnownPool
from tests.unit.builders.cluster import pool_body
from tests.unit.builders.workers import KEY

pytestmark = pytest.mark.unit

HERE, THERE = (broker_reference(BrokerSpec(url=f"redis://{host}:6379/0")) for host in ("here", "there"))


class Lease:
    """Its annotations, as each operator leaves them."""

    def __init__(self) -> None:
        self.text: str | None = ""
        self.writes = 0

    def annotation(self, name: str) -> str | None:
        assert name == BROKERS_ANNOTATION
        return self.text

    def annotate(self, name: str, text: str) -> None:
        assert name == BROKERS_ANNOTATION
        self.text, self.writes = text, self.writes + 1


def met(lease: Lease, pools: Iterable[KnownPool] = (), pods: Iterable[tuple[PoolKey, str]] = ()) -> Acquaintances:
    """What an operator knows that has looked once."""
    known = Acquaintances(lease)
    known.meet(pools)
    known.keep(pods)
    return known


def pool(host: str = "here", name: str = KEY.name) -> KnownPool:
    return KnownPool.from_body(pool_body(name, url=f"redis://{host}:6379/0"))


def test_a_pool_that_is_there_is_known_by_its_name_and_its_broker() -> None:
    known = met(Lease(), [pool()])
    assert known.knows(KEY, HERE)
    assert not known.knows(KEY, THERE)
    assert not known.knows(PoolKey(KEY.namespace, "another"), HERE)
    assert not known.knows(PoolKey("another", KEY.name), HERE)


def test_a_pool_that_was_deleted_while_no_operator_looked_is_known_to_the_next_one() -> None:
    lease = Lease()
    met(lease, [pool()])
    assert met(lease, pods=[(KEY, HERE), (KEY, THERE)]).knows(KEY, HERE)
    assert not met(lease, pods=[(KEY, HERE), (KEY, THERE)]).knows(KEY, THERE), "Pods make nobody known"


def test_a_pool_that_has_moved_is_known_where_it_was_while_its_pods_name_that() -> None:
    lease = Lease()
    known = met(lease, [pool("here")])
    known.meet([pool("there")])
    known.keep([(KEY, HERE)])
    assert known.knows(KEY, HERE)
    known.keep([])
    assert (known.knows(KEY, HERE), known.knows(KEY, THERE)) == (False, True)
    assert lease.text == digest_of(KEY, THERE)


def test_nothing_is_noted_twice_nor_while_nothing_changes() -> None:
    lease = Lease()
    known = met(lease, [pool()])
    for _ in range(10):
        known.meet([pool()])
        known.keep([])
    assert lease.writes == 1


def test_while_nobody_knows_what_was_noted_nothing_is_complete() -> None:
    lease = Lease()
    lease.text = None
    known = Acquaintances(lease)
    known.meet([pool()])
    assert not known.is_complete
    lease.text = ""
    known.meet([pool()])
    assert known.is_complete
    known.clear()
    assert (known.is_complete, known.knows(KEY, HERE)) == (False, False)


@pytest.mark.parametrize("text", ["\x00", "a b c", "x" * 300_000, "=" * 16, "../" * 9, "é" * 16])
def test_what_no_operator_has_noted_is_nothing(text: str) -> None:
    lease = Lease()
    lease.text = text
    assert not met(lease).knows(KEY, HERE)
    assert lease.text == ""


def test_what_is_noted_is_bounded_and_pools_that_are_there_come_first(caplog: pytest.LogCaptureFixture) -> None:
    lease = Lease()
    keys = [PoolKey("shop", f"p{number}") for number in range(MOST)]
    lease.text = " ".join(digest_of(key, HERE) for key in keys)
    known = met(lease, [pool()], [(key, HERE) for key in keys])
    assert known.knows(KEY, HERE)
    assert lease.text is not None
    assert (len(lease.text.split()), len(lease.text)) == (MOST, MOST * 17 - 1)
    assert "will not be known" in caplog.text
