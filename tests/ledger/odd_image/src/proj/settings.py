"""Django's settings; those of Celery begin with CELERY_."""

import os

SECRET_KEY = "of a test"
INSTALLED_APPS = ["proj"]
USE_TZ = True
# For development; in a cluster the environment names another one.
CELERY_BROKER_URL = "redis://localhost:6379/9"
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": int(os.environ.get("LEDGER_VISIBILITY", "7200"))}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = os.environ.get("LEDGER_ACKS", "late") == "late"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
