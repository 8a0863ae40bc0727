"""Tasks as a producer sends them; no worker is needed."""

# mypy: disable-error-code="import-untyped"

from celery import Celery

from tests.integration.redis_server import RedisServer


def push(redis: RedisServer, queue: str, count: int, priority: int | None = None) -> None:
    """Send tasks to a queue, with kombu's own layout of priorities."""
    app = Celery(broker=redis.celery_url)
    with app.connection_for_write() as connection:
        for _ in range(count):
            app.send_task("some.task", queue=queue, priority=priority, connection=connection)
