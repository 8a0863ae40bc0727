"""A result backend for senders that wait for no result."""

from typing import Any

from celery.backends.redis import RedisBackend


def silent(url: str) -> str:
    """The result backend on the Redis of `url`, as Celery's settings name it."""
    return f"{__name__}:SilentBackend+{url}"


class SilentBackend(RedisBackend):  # type: ignore[misc]  # celery has no types
    """Redis for the counters of chords, without a subscription to each result.

    Nobody waits for a result here. A subscription would be ended by the garbage collector at some later moment, when
    the test's Redis may be gone.
    """

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """A task is sent."""

    def add_pending_result(self, result: Any, **options: Any) -> Any:
        """A group would like to know when its parts are done."""
        return result
