"""What people type: `celeriac` and the kubectl plugin `kubectl celery`."""
