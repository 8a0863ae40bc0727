"""Machine learning: CPU work on a model that each worker process loads once and keeps; one solo worker per pod."""

import functools
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery_app import app
from celery_app.recorded import RecordedTask
from celery_app.work import work

__all__ = ["app", "classify", "recognize"]

MODEL_PATH = Path(os.environ.get("MODEL_PATH", Path(__file__).parents[1] / "model" / "digits.joblib"))


@dataclass(frozen=True)
class Model:
    """A trained classifier of handwritten digits, the images it never saw, and when it was loaded (Unix seconds)."""

    classifier: Any
    images: Any
    labels: Any
    loaded_at: float


@functools.cache
def model() -> Model:
    """The model of this process; the first task pays for the loading, so workers of other queues never do."""
    import joblib

    return Model(**joblib.load(MODEL_PATH), loaded_at=time.time())


@app.task(base=RecordedTask, acks_late=True, reject_on_worker_lost=True)
def classify(first: int = 0, count: int = 20, seconds: float = 1.0, cpu_share: float = 1.0) -> dict[str, Any]:
    """Classify `count` images from number `first` on, over and over for `seconds`.

    The result names the pod, the process and when its model was loaded: tasks of one worker share all three.
    """
    loaded = model()
    chosen = [index % len(loaded.labels) for index in range(first, first + count)]
    rounds = work(seconds, cpu_share, lambda: loaded.classifier.predict(loaded.images[chosen]))
    predicted = loaded.classifier.predict(loaded.images[chosen])
    return {
        "digits": [int(digit) for digit in predicted],
        "correct": int((predicted == loaded.labels[chosen]).sum()),
        "rounds": rounds,
        "pod": socket.gethostname(),
        "pid": os.getpid(),
        "model_loaded_at": loaded.loaded_at,
    }


@app.task(base=RecordedTask, acks_late=True, reject_on_worker_lost=True)
def recognize(pixels: list[float], seconds: float = 0.0, cpu_share: float = 1.0) -> dict[str, Any]:
    """Say which digit a picture shows: 64 shades from 0 to 16, row by row. It takes `seconds` at least."""
    loaded = model()
    work(seconds, cpu_share, lambda: loaded.classifier.predict([pixels]))
    return {
        "digit": int(loaded.classifier.predict([pixels])[0]),
        "pod": socket.gethostname(),
        "model_loaded_at": loaded.loaded_at,
    }
