"""`celeriac convert`: a Deployment of Celery workers, and what scales it, as a CeleryWorkerPool."""
