"""Celeriac: the Kubernetes operator for Celery worker pools."""

__version__ = "0.1.0"
