"""The Celery application of the project."""

from typing import Any

import django  # type: ignore[import-not-found]  # in the image alone
from celery import Celery, signals

app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_init.connect  # type: ignore[untyped-decorator]  # celery has no types
def prepare(**_: Any) -> None:
    """What a project does before its worker begins."""
    django.setup()
