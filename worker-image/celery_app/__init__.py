"""The demo Celery application, with the routes that people really have.

    queue            module          kind of work                     suits
    email_service    email_service   short waits for the network      threads, gevent, eventlet
    ml_service       ml_tasks        CPU, a model kept in memory      solo, one worker per pod
    batch            batch           CPU, acknowledged late           prefork
    celery           default         Celery's default queue           any

`celery -A celery_app worker` serves all of it, `celery -A celery_app.ml_tasks:app worker` is the same application named
by another path. The broker comes from CELERY_BROKER_URL, results go to CELERY_RESULT_BACKEND, or to the broker.
"""

import os

from celery import Celery

QUEUES = ("email_service", "ml_service", "batch", "celery")
PRIORITY_STEPS = (0, 3, 6, 9)
BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")

app = Celery(
    "celery_app",
    broker=BROKER_URL,
    backend=os.environ.get("CELERY_RESULT_BACKEND", BROKER_URL),
    include=["celery_app.email_service", "celery_app.ml_tasks", "celery_app.batch", "celery_app.default"],
)

app.conf.update(
    task_routes={
        "celery_app.email_service.*": {"queue": "email_service"},
        "celery_app.ml_tasks.*": {"queue": "ml_service"},
        "celery_app.batch.*": {"queue": "batch"},
    },
    # kombu keeps one Redis list per priority step; 0 is consumed first, and a priority rounds down to a step.
    broker_transport_options={"priority_steps": list(PRIORITY_STEPS), "queue_order_strategy": "priority"},
    broker_connection_retry_on_startup=True,
    result_expires=3600,
    # A worker that reserves more than it runs would hide the backlog from the autoscaler and starve its neighbours.
    worker_prefetch_multiplier=1,
    enable_utc=True,
)
