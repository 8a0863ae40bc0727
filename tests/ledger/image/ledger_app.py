"""A user's application whose tasks keep a ledger: one line of JSON for each event, in a file that outlives the pod.

    {"event": "started", "task": "<id>", "pod": "<host name>", "pid": 7, "time": 1.5}

Events: `received` when the worker has taken the message, `started` and `ended` around the task's body. A line is
appended with one write, so that any number of processes share the file and a killed one leaves no half of a line.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, signals

FILE = Path(os.environ.get("LEDGER_FILE", "/ledger/tasks.jsonl"))
GREED_BYTES = 2**30

app = Celery("ledger_app")
app.conf.update(
    task_acks_late=os.environ.get("LEDGER_ACKS") == "late",
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": int(os.environ.get("LEDGER_VISIBILITY", "3600"))},
)


def write(event: str, task: str) -> None:
    """Append one line; it is in the kernel's hands, and safe from the death of this process, when this returns."""
    line = {"event": event, "task": task, "pod": os.uname().nodename, "pid": os.getpid(), "time": time.time()}
    file = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


@signals.task_received.connect  # type: ignore[untyped-decorator]  # celery has no types
def received(request: Any, **_: Any) -> None:
    """In the worker's main process, before the task waits for a slot."""
    write("received", request.id)


@app.task(bind=True, name="ledger.work")  # type: ignore[untyped-decorator]
def work(self: Any, seconds: float) -> None:
    """Wait for so long."""
    write("started", self.request.id)
    time.sleep(seconds)
    write("ended", self.request.id)


@app.task(bind=True, name="ledger.greedy")  # type: ignore[untyped-decorator]
def greedy(self: Any, seconds: float) -> None:
    """Take more memory than any pod of these tests has, but only the first time that the task is run."""
    write("started", self.request.id)
    been_here = FILE.with_name(f"{FILE.stem}-{self.request.id}")
    if not been_here.exists():
        been_here.touch()
        time.sleep(seconds)
        bytearray(b"x") * GREED_BYTES
    write("ended", self.request.id)
