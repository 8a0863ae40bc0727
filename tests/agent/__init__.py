"""The agent in real Celery workers on a real Redis, without Kubernetes."""
