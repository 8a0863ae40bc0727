"""Who gets the next slot of the API server."""

import asyncio

import pytest

from celeriac.cluster.slots import OTHERS_AT_ONCE, REQUESTS_AT_ONCE, URGENT_AT_ONCE, Rank, Slots, rank_of

pytestmark = pytest.mark.unit


class Crowd:
    """Requests that wait for slots and keep them until they are told to end; `served` is the order of the grants."""

    def __init__(self) -> None:
        self.slots = Slots()
        self.served: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, rank: Rank, *names: str) -> None:
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._request(rank, name))
        await self.rest()

    async def end(self, *names: str) -> None:
        for name in names:
            self.ends[name].set()
        await self.rest()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await self.rest()

    async def rest(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def _request(self, rank: Rank, name: str) -> None:
        async with self.slots.slot(rank):
            self.served.append(name)
            await self.ends[name].wait()


def names(kind: str, count: int) -> list[str]:
    return [f"{kind} {number}" for number in range(count)]


async def test_what_waits_is_served_by_rank_and_then_in_its_order() -> None:
    crowd, under_way = Crowd(), names("read", OTHERS_AT_ONCE)
    await crowd.ask(Rank.READ, *under_way)
    for rank in reversed(Rank):
        await crowd.ask(rank, f"first {rank.name}", f"second {rank.name}")
    await crowd.end(*crowd.served[:])
    assert crowd.served[OTHERS_AT_ONCE:][:2] == ["first URGENT", "second URGENT"]
    rest = [name for name in crowd.served[OTHERS_AT_ONCE:] if "URGENT" not in name]
    assert rest == [f"{which} {rank.name}" for rank in Rank if rank is not Rank.URGENT for which in ("first", "second")]


async def test_a_scaling_finds_a_slot_whatever_hangs_and_others_find_one_whatever_scalings_hang() -> None:
    crowd = Crowd()
    await crowd.ask(Rank.EVENT, *names("event", 100))
    await crowd.ask(Rank.URGENT, "a scaling")
    assert crowd.served == [*names("event", OTHERS_AT_ONCE), "a scaling"]
    crowd = Crowd()
    await crowd.ask(Rank.URGENT, *names("scaling", 100))
    await crowd.ask(Rank.STATUS, "a status")
    assert crowd.served == [*names("scaling", URGENT_AT_ONCE), "a status"]


async def test_no_more_are_under_way_than_may_be() -> None:
    crowd = Crowd()
    await crowd.ask(Rank.URGENT, *names("scaling", 100))
    await crowd.ask(Rank.READ, *names("read", 100))
    assert len(crowd.served) == REQUESTS_AT_ONCE


async def test_who_gives_up_takes_no_slot_along() -> None:
    crowd, all_of_them = Crowd(), names("read", OTHERS_AT_ONCE)
    await crowd.ask(Rank.READ, *all_of_them, "gives up", "stays")
    await crowd.cancel("gives up")
    crowd.ends["read 0"].set()
    await crowd.rest()
    assert crowd.served[OTHERS_AT_ONCE:] == ["stays"]
    await crowd.ask(Rank.READ, "last")
    crowd.ends["read 1"].set()
    crowd.tasks["last"].cancel()  # at the moment of its grant
    await crowd.rest()
    await crowd.end(*all_of_them, "stays")
    await crowd.ask(Rank.READ, *names("anew", OTHERS_AT_ONCE))
    assert set(names("anew", OTHERS_AT_ONCE)) <= set(crowd.served)


@pytest.mark.parametrize(
    ("verb", "resource", "rank"),
    [
        ("patch", "deployments/scale", Rank.URGENT),
        ("patch", "pods", Rank.URGENT),
        ("list", "pods", Rank.READ),
        ("get", "secrets", Rank.READ),
        ("get", "celeryworkerpools/status", Rank.READ),
        ("apply", "deployments", Rank.WRITE),
        ("patch", "celeryworkerpools/status", Rank.STATUS),
        ("create", "events", Rank.EVENT),
        ("patch", "events", Rank.EVENT),
    ],
)
def test_the_rank_of_a_request_is_its_need(verb: str, resource: str, rank: Rank) -> None:
    assert rank_of(verb, resource) is rank
