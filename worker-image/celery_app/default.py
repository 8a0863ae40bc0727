"""Celery's default queue: reminders at a later time, and what gathers the results of a batch."""

import time
from typing import Any

from celery_app import app
from celery_app.recorded import RecordedTask


@app.task(base=RecordedTask)
def remind(text: str, seconds: float = 0.1) -> str:
    """Say `text`; send it with `countdown=` or `eta=` to hear it later."""
    time.sleep(seconds)
    return text


@app.task(base=RecordedTask)
def summarize(results: list[dict[str, Any]]) -> dict[str, int]:
    """The callback of a chord: how many parts the batch had, and which was the last."""
    return {"parts": len(results), "last": max(result["part"] for result in results)}
