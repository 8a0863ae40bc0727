"""Where a ledger is kept: a namespace with a Redis, pools of the ledger's image on it, and one book of it all."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from celery import Celery

from tests.cluster.errors import ClusterError
from tests.cluster.process import wait_until
from tests.cluster.target import Target
from tests.e2e.story import PATIENCE, REDIS, Story, forwarded, fresh_namespace
from tests.e2e.tasks import Tasks
from tests.ledger.book import Book
from tests.ledger.checker import KEPT_KEYS
from tests.ledger.lines import Event, Line
from tests.ledger.shelf import Shelf, shelf
from tests.ledger.watch import Watch

QUEUE = "ledger"
APP = "ledger_app"
TIDY_SECONDS = 45.0
"""What the operator has to clean up after the last pod: it believes a Pod's death after 30 s at the latest."""


class Scene:
    """One namespace. `story` acts in it, `book` has all lines; `send` sends the ledger's own tasks."""

    def __init__(self, story: Story, book: Book, shelf: Shelf, broker_url: str) -> None:
        self.story = story
        self.book = book
        self._shelf = shelf
        self._file = f"{story.namespace}.jsonl"
        self._celery = Celery("sender", broker=broker_url)

    def pool(self, name: str, *, image: str, environment: Mapping[str, str], **spec: Any) -> None:
        """Create a pool of the ledger's application on QUEUE, and wait until its Redis is read.

        Whatever else is given goes into its spec; `template` is merged into what the ledger needs.
        """
        template = self._shelf.template(self._file)
        template["env"] += [{"name": key, "value": value} for key, value in environment.items()]
        template |= spec.pop("template", {})
        given = {"image": image, "app": APP, "queues": [QUEUE]} | spec
        self.story.pool(name, given.pop("queues"), template=template, **given)

    def send(self, seconds: Sequence[float], *, task: str = "work", queue: str = QUEUE, **options: Any) -> list[str]:
        """Send tasks of such lengths, in this order; returns their ids."""
        ids = [str(uuid.uuid4()) for _ in seconds]
        options |= {"queue": queue}
        with self._celery.connection_for_write() as connection:
            for id, length in zip(ids, seconds, strict=True):
                self.book.note(Event.SENT, task=id)
                self._celery.send_task(f"ledger.{task}", [length], task_id=id, connection=connection, **options)
        return ids

    def wait_until_ended(self, seconds: float) -> bool:
        """Whether all tasks that were sent have ended in time."""
        return self.book.wait(all_ended, seconds)

    def wait_until_running(self, count: int, seconds: float = PATIENCE) -> None:
        """Until so many tasks run at one time."""
        running = self.book.wait(lambda lines: len(unfinished(lines)) >= count, seconds)
        assert running, f"{count} tasks do not run after {seconds} s: {unfinished(self.book.lines())}"

    def close(self) -> None:
        """Enter what only the end can tell: what the follower has missed, and the keys that stay in Redis."""
        self._shelf.read(self._file, self.book)
        lines = self.book.lines()
        seen = {line.pod for line in lines if line.pod}
        for pod in seen - {line.pod for line in lines if line.event is Event.GONE} - self._pods():
            self.book.note(Event.GONE, pod=pod)
        for key in self._left():
            self.book.note(Event.LEFT, key=key)

    def _pods(self) -> set[str]:
        names = self.story.kubectl("get", "pods", "--output=jsonpath={.items[*].metadata.name}")
        return set(names.split())

    def _left(self) -> list[str]:
        """The keys in Redis, once all have gone that should, or TIDY_SECONDS are over."""
        redis = self.story.tasks.redis

        def left() -> list[str]:
            return [key for key in redis.scan_iter() if not KEPT_KEYS.match(key)]

        with suppress(ClusterError):  # the checker says it better
            wait_until(lambda: not left(), "a tidy Redis", seconds=TIDY_SECONDS, every=0.5)
        return left()

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Enter the tasks' lines as they come."""
        with self._shelf.followed(self._file, self.book):
            yield


def unfinished(lines: Sequence[Line]) -> set[str]:
    """Tasks that have started and not ended."""
    ended = {line.task for line in lines if line.event is Event.ENDED}
    return {line.task for line in lines if line.event is Event.STARTED} - ended


def all_ended(lines: Sequence[Line]) -> bool:
    """Whether every task that was sent has ended."""
    ended = {line.task for line in lines if line.event is Event.ENDED}
    return all(line.task in ended for line in lines if line.event is Event.SENT)


def all_over(lines: Sequence[Line]) -> bool:
    """Whether every task that was sent has started, and then ended or lost its pod: no more can be expected of it."""
    gone = {line.pod for line in lines if line.event is Event.GONE}
    ended = {line.task for line in lines if line.event is Event.ENDED}
    last_pod = {line.task: line.pod for line in lines if line.event is Event.STARTED}
    sent = {line.task for line in lines if line.event is Event.SENT}
    return all(task in ended or last_pod.get(task) in gone for task in sent)


@contextmanager
def scene(cluster: Target, file: Path) -> Iterator[Scene]:
    """A scene of its own, with a Redis that answers; its book is kept in `file`."""
    with ExitStack() as stack:
        namespace = stack.enter_context(fresh_namespace(cluster))
        own = f"--namespace={namespace}"
        cluster.kubectl("apply", own, f"--filename={REDIS}")
        kept = stack.enter_context(shelf(cluster, namespace))
        cluster.kubectl("rollout", "status", "deployment/redis", own, f"--timeout={PATIENCE:.0f}s")
        book = Book(file)
        watch = stack.enter_context(Watch(cluster.kubeconfig, namespace, book))
        port = stack.enter_context(forwarded(cluster, namespace, "deployment/redis", 6379))
        url = f"redis://127.0.0.1:{port}/0"
        running = Scene(Story(cluster, namespace, Tasks(url), watch), book, kept, url)
        stack.enter_context(running.followed())
        yield running
