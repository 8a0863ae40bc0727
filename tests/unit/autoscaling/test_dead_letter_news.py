"""Who reads of new dead letters reads which task of which queue they are, and never what it was to do."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from celeriac.api.keys import PoolKey
from celeriac.api.reasons import Reason
from celeriac.autoscaling.dead_letter_news import DeadLetterNews
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.protocol import DeadLetter
from celeriac.pool.model import QueueLayout
from tests.unit.builders import pools
from tests.unit.builders.tellers import Listener

pytestmark = pytest.mark.unit

REASON = "in 3 workers that died"


class Letters:
    """A broker's dead letters, by queue, the oldest first; each look at them waits for `open`."""

    def __init__(self, tasks: Mapping[str, Sequence[str]], doubt: BrokerDoubt | None = None) -> None:
        self.tasks, self.doubt = tasks, doubt
        self.open = asyncio.Event()
        self.open.set()
        self.asked: list[tuple[str, int]] = []

    async def newest(self, layout: QueueLayout, queue: str, most: int) -> Sequence[DeadLetter]:
        self.asked.append((queue, most))
        await self.open.wait()
        if self.doubt is not None:
            raise self.doubt
        return [DeadLetter(task, "id", REASON) for task in self.tasks[queue][-most:]]

    count = queues = oldest = requeue = purge = newest


POOL = pools.pool(queues=("images", "mail"))


async def test_queue_and_tasks_are_named_those_of_most_letters_first(caplog: pytest.LogCaptureFixture) -> None:
    ears = Listener()
    news = DeadLetterNews(ears)
    letters = Letters({"images": ["proj.old", "proj.resize", "proj.crop", "proj.resize"], "mail": ["proj.send"]})
    news.begin(POOL, None, {"images": 3, "mail": 1}, letters)  # type: ignore[arg-type]
    await news.settle()
    images, mail = ears.told
    assert (images.type, images.reason, images.pool) == ("Warning", Reason.DEAD_LETTERED, POOL.key)
    assert images.message.startswith("3 new dead letter(s) of queue images (2 x proj.resize, proj.crop): each was")
    assert "`kubectl celery dead-letters list ml`" in images.message
    assert "of queue mail (proj.send)" in mail.message
    assert images.series != mail.series
    assert [record.getMessage() for record in caplog.records] == [
        f"pool {POOL.key}: {each.message}" for each in ears.told
    ]


async def test_what_comes_while_the_broker_is_asked_is_told_afterwards_and_a_flood_is_not_read() -> None:
    ears = Listener()
    news, letters = DeadLetterNews(ears), Letters({"images": ["proj.resize"] * 5000})
    letters.open.clear()
    for _ in range(5):
        news.begin(POOL, None, {"images": 1000}, letters)  # type: ignore[arg-type]
        await asyncio.sleep(0)
    letters.open.set()
    await news.settle()
    assert [each.message.split(" ")[0] for each in ears.told] == ["1000", "4000"]
    assert letters.asked == [("images", 100), ("images", 100)]


async def test_a_broker_that_does_not_say_leaves_the_tasks_out_and_nothing_else() -> None:
    ears = Listener()
    news = DeadLetterNews(ears)
    doubt = BrokerDoubt(Reason.BROKER_PERMISSION_DENIED, "no right to LRANGE")
    news.begin(POOL, None, {"images": 2}, Letters({}, doubt))  # type: ignore[arg-type]
    news.begin(pools.pool(key=PoolKey("shop", "other")), None, {"images": 1}, None)
    await news.settle()
    assert [each.message.partition(":")[0] for each in ears.told] == [
        "2 new dead letter(s) of queue images",
        "1 new dead letter(s) of queue images",
    ]


async def test_the_name_of_a_task_is_a_strangers_text() -> None:
    ears = Listener()
    news = DeadLetterNews(ears)
    news.begin(POOL, None, {"images": 1}, Letters({"images": ["\x1b[31m\n" + "x" * 999]}))  # type: ignore[arg-type]
    await news.settle()
    assert ears.told[0].message.isprintable()
    assert len(ears.told[0].message) < 400
