"""A pool has one operator at a time: the next one waits until the last has let go, or must have."""

import asyncio
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.cluster.errors import ApiError, Conflict, Unavailable
from celeriac.watching import releases
from celeriac.watching.releases import Releases
from celeriac.watching.shard import LETS_GO_SECONDS, Shard
from celeriac.watching.store import KnownPool, Store

pytestmark = pytest.mark.unit

ML = PoolKey("team", "ml")
ME, OTHER = "celeriac/a", "celeriac/b"


class World:
    """One operator's store, in virtual time."""

    def __init__(self, *, by_namespace: bool = False, by_pool: bool = True) -> None:
        self.now = 0.0
        self.left: list[PoolKey] = []
        self.shard = Shard(ME, by_namespace=by_namespace, by_pool=by_pool, clock=lambda: self.now)
        self.store = Store(lambda _: None, self.shard, lambda known: self.left.append(known.key))

    def sees(self, operator: Any = None, *, deleted: bool = False) -> bool:
        """An event of the pool; whether it is this operator's now."""
        self.store.pool_event(pool(operator), deleted=deleted)
        return self.has()

    def lists(self, *bodies: dict[str, Any]) -> bool:
        self.store.replace_pools(bodies, self.store.moments()[0])
        return self.has()

    def has(self) -> bool:
        return self.store.pools.get(ML) is not None


def pool(operator: Any = None) -> dict[str, Any]:
    spec = {"image": "app:1", "app": "app", "broker": {"url": "redis://redis:6379/0"}}
    status = {} if operator is None else {"operator": operator}
    return {
        "metadata": {"namespace": "team", "name": "ml", "uid": "1", "generation": 1},
        "spec": spec,
        "status": status,
    }


def test_a_pool_that_another_operator_has_is_taken_once_that_one_has_let_go() -> None:
    world = World()
    assert not world.sees(OTHER)
    assert world.sees(None)
    assert world.sees(ME)
    assert world.left == []


def test_a_pool_that_another_operator_takes_is_let_go_of() -> None:
    """Two selectors that both match a pool: one of the two has it, and no pool has both."""
    world = World()
    assert world.sees(ME)
    assert not world.sees(OTHER)
    assert world.left == [ML]


@pytest.mark.parametrize("told_by", ["event", "list"])
def test_an_operator_that_died_without_a_word_is_waited_for_and_no_longer(told_by: str) -> None:
    world = World()

    def see() -> bool:
        return world.sees(OTHER) if told_by == "event" else world.lists(pool(OTHER))

    assert not see()
    world.now = LETS_GO_SECONDS - 1
    assert not see()
    world.now = LETS_GO_SECONDS
    assert see()
    assert see(), "until its own name is there"
    assert world.sees(ME)
    assert not world.sees(OTHER), "it is waited for anew: it lives"


def test_the_wait_begins_anew_with_each_operator_and_with_each_pool_of_the_name() -> None:
    world = World()
    assert not world.sees(OTHER)
    world.now = LETS_GO_SECONDS
    assert not world.sees("celeriac/c")
    world.now = 2 * LETS_GO_SECONDS
    world.sees(deleted=True)
    assert not world.sees("celeriac/c")


@pytest.mark.parametrize("name", [OTHER, "", 7, ["x"], {}])
def test_an_operator_that_shares_with_nobody_takes_every_pool(name: Any) -> None:
    world = World(by_pool=False)
    assert world.sees(name)


@pytest.mark.parametrize("name", ["", 7, ["x"], {}, None])
def test_what_is_no_name_keeps_nobody_from_a_pool(name: Any) -> None:
    assert World().sees(name)


def test_a_namespace_that_is_served_no_longer_takes_its_pools_along_with_the_next_list() -> None:
    world = World(by_namespace=True)
    assert not world.lists(pool())
    world.shard.serve(["team"])
    assert world.lists(pool())
    world.shard.serve(["other"])
    assert not world.lists(pool())
    assert world.left == [ML]
    assert not world.sees(ME), "nor does an event bring one back"


class Server:
    """Answers releases as it is told, and then takes them; `asked` counts them."""

    def __init__(self, *answers: ApiError) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.released: list[tuple[PoolKey, str, str]] = []

    async def release_pool(self, key: PoolKey, uid: str, operator: str) -> None:
        self.asked += 1
        if self._answers:
            raise self._answers.pop(0)
        self.released.append((key, uid, operator))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "LOOK_SECONDS", 0)
    monkeypatch.setattr(releases, "AGAIN_SECONDS", 0)


async def settle(rounds: int = 20) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


async def test_a_pool_is_let_go_of_once_nothing_is_under_way_for_it() -> None:
    server, busy = Server(), {ML}
    Releases(server, ME, has=lambda _: False, is_busy=busy.__contains__).left(KnownPool.from_body(pool(ME)))
    await settle()
    assert server.released == []
    busy.clear()
    await settle()
    assert server.released == [(ML, "1", ME)]


@pytest.mark.parametrize(
    ("answer", "asked"), [(Unavailable(503, "ServiceUnavailable", "no"), 2), (Conflict(409, "Conflict", "other's"), 1)]
)
async def test_an_api_server_that_is_away_is_asked_again_and_one_that_refuses_is_not(
    answer: ApiError, asked: int
) -> None:
    server = Server(answer)
    Releases(server, ME, has=lambda _: False, is_busy=lambda _: False).left(KnownPool.from_body(pool(ME)))
    await settle()
    assert server.asked == asked


async def test_a_pool_that_has_come_back_meanwhile_is_kept() -> None:
    server, busy, back = Server(), {ML}, set[PoolKey]()
    Releases(server, ME, has=back.__contains__, is_busy=busy.__contains__).left(KnownPool.from_body(pool(ME)))
    await settle()
    back.add(ML)
    busy.clear()
    await settle()
    assert server.asked == 0


async def test_an_operator_that_shares_with_nobody_lets_go_of_nothing() -> None:
    server = Server()
    Releases(server, "", has=lambda _: False, is_busy=lambda _: False).left(KnownPool.from_body(pool()))
    await settle()
    assert server.asked == 0
