"""Tasks that keep a ledger: lines of JSON in a file that outlives the pod."""

import json
import os
import time
from typing import Any

from celery import shared_task, signals
from django.conf import settings  # type: ignore[import-not-found]  # in the image alone


def write(event: str, task: str) -> None:
    """Append one line with one write."""
    line = {"event": event, "task": task, "pod": os.uname().nodename, "pid": os.getpid(), "time": time.time()}
    file = os.open(os.environ["LEDGER_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


@signals.task_received.connect  # type: ignore[untyped-decorator]
def received(request: Any, **_: Any) -> None:
    """In the worker's main process, before the task waits for a slot."""
    write("received", request.id)


@shared_task(bind=True, name="ledger.work")  # type: ignore[untyped-decorator]  # celery has no types
def work(self: Any, seconds: float) -> None:
    """Wait for so long."""
    assert settings.configured
    write("started", self.request.id)
    time.sleep(seconds)
    write("ended", self.request.id)
