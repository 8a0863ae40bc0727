"""Batch: parts of a larger job on prefork children; a part is acknowledged only once it is done."""

import hashlib

from celery_app import app
from celery_app.recorded import RecordedTask
from celery_app.work import work


@app.task(base=RecordedTask, acks_late=True, reject_on_worker_lost=True)
def crunch(part: int, seconds: float = 1.0, cpu_share: float = 1.0) -> dict[str, int]:
    """Work on one part for `seconds`; a part whose worker died is done again by another."""
    data = part.to_bytes(8, "big") * 4096
    rounds = work(seconds, cpu_share, lambda: hashlib.sha256(data).digest())
    return {"part": part, "rounds": rounds}
