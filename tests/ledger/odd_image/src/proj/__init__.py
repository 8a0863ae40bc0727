"""A Django project with Celery, as Celery's own documentation shows it."""

from .celery import app as celery_app

__all__ = ("celery_app",)
