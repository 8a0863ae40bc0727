"""A task class that writes each execution into the ledger."""

import uuid
from typing import Any

from celery import Task
from celery.exceptions import Retry

from celery_app.ledger import Event, entry_now, record

RUN_HEADER = "ledger_run"


class RecordedTask(Task):
    """A task that keeps the ledger when its message names a run in the header RUN_HEADER, and is ordinary otherwise."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task between a `started` and an ending entry; the message is acknowledged after both if late."""
        run = (self.request.headers or {}).get(RUN_HEADER)
        if run is None:
            return self.run(*args, **kwargs)
        of_this_execution = {
            "task": self.request.id,
            "attempt": self.request.retries,
            "execution": uuid.uuid4().hex,
            "name": self.name,
            "queue": self.request.delivery_info["routing_key"],
        }
        record(run, entry_now(Event.STARTED, **of_this_execution))
        end = Event.FAILED
        try:
            result = self.run(*args, **kwargs)
            end = Event.SUCCEEDED
            return result
        except Retry:
            end = Event.RETRIED
            raise
        finally:
            record(run, entry_now(end, **of_this_execution))
