"""A web service in front of the queue ml_service: it takes a picture, answers at once, and has the digit later.

    uvicorn celery_app.web:api --host 0.0.0.0 --port 8000

    GET  /             a page to draw on
    POST /digits       {"pixels": [64 shades from 0 to 16]} -> 202, Location: /digits/ID
    GET  /digits/ID    202 while it waits or runs, 200 with the digit, 500 when the task failed
    GET  /queue        how many pictures wait

The model is in the workers, not here: this process needs none of their memory, and they start without it.
"""

import uuid
from pathlib import Path
from typing import Annotated, Any

from celery.backends.redis import RedisBackend
from celery.result import AsyncResult
from fastapi import FastAPI, Header, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from celery_app import BROKER_URL, PRIORITY_STEPS, app, ledger, ml_tasks
from celery_app.send import enter

QUEUE = "ml_service"
PAGE = Path(__file__).with_name("page.html")
PRIORITY = "\x06\x16"  # what kombu puts between a queue's name and the number of a priority's list


class PolledBackend(RedisBackend):
    """Results that are asked for by their id.

    Celery would subscribe to the result of each task that is sent here, and end that only with its object.
    """

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """A task is sent: nobody in this process waits for it."""


app.conf.result_backend = f"{__name__}:PolledBackend+{app.conf.result_backend or BROKER_URL}"
api = FastAPI(title="Digits")


class Picture(BaseModel):
    """A picture of 8 by 8; `seconds` makes the task longer, to see a queue grow."""

    pixels: Annotated[list[Annotated[float, Field(ge=0, le=16)]], Field(min_length=64, max_length=64)]
    seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    cpu_share: Annotated[float, Field(ge=0, le=1)] = 1.0


@api.get("/", response_class=FileResponse)
def page() -> Path:
    """The page."""
    return PAGE


@api.get("/healthz")
def healthz() -> dict[str, str]:
    """For probes: this process answers."""
    return {"status": "ok"}


@api.post("/digits", status_code=202)
def enqueue(picture: Picture, response: Response, x_run: Annotated[str | None, Header()] = None) -> dict[str, str]:
    """Put the picture into the queue. `X-Run` names a run of the demo's ledger, which then knows the task."""
    signature = ml_tasks.recognize.s(picture.pixels, picture.seconds, picture.cpu_share)
    sent = (enter(x_run, signature, QUEUE) if x_run else signature.set(task_id=str(uuid.uuid4()))).apply_async()
    response.headers["Location"] = f"/digits/{sent.id}"
    return {"id": sent.id}


@api.get("/digits/{task}")
def look(task: uuid.UUID, response: Response) -> dict[str, Any]:
    """The digit, or that it is not there yet. An id that nobody was given looks like one that waits."""
    result = AsyncResult(str(task), app=app)
    match result.status:
        case "SUCCESS":
            return {"state": "done", **result.result}
        case "FAILURE" | "REVOKED":
            response.status_code = 500
            return {"state": "failed"}
        case _:
            response.status_code = 202
            return {"state": "waiting"}


@api.get("/queue")
def queue() -> dict[str, int]:
    """Pictures that no worker has taken yet, of all priorities."""
    redis = ledger.connect()
    lists = [QUEUE, *(f"{QUEUE}{PRIORITY}{step}" for step in PRIORITY_STEPS if step)]
    return {"waiting": sum(redis.llen(name) for name in lists)}
