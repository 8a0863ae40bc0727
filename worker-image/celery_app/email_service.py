"""Mail: short tasks that wait for a server; threads or gevent run many of them in one pod."""

import time
from typing import Any

from celery_app import app
from celery_app.recorded import RecordedTask


class MailServerBusy(ConnectionError):
    """The mail server asks to come back later."""


@app.task(
    base=RecordedTask,
    bind=True,
    autoretry_for=(MailServerBusy,),
    max_retries=5,
    retry_backoff=1,
    retry_backoff_max=10,
    retry_jitter=False,
)
def deliver(self: Any, recipient: str, seconds: float = 0.2, failures: int = 0) -> dict[str, Any]:
    """Deliver one mail: wait `seconds` for the server, which refuses the first `failures` attempts.

    Acknowledged early, Celery's default: a mail is never sent twice, and is lost if the worker is killed.
    """
    time.sleep(seconds)
    if self.request.retries < failures:
        raise MailServerBusy(f"attempt {self.request.retries + 1} for {recipient}")
    return {"recipient": recipient, "attempts": self.request.retries + 1}
