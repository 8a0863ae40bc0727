"""Manifests of Redis servers other than the plain one: any command of the redis image, with a Service before it."""

from collections.abc import Sequence
from typing import Any

TLS_DIR = "/tls"

Body = dict[str, Any]


def server(name: str, command: Sequence[str], port: int, *, tls_secret: str | None = None) -> Body:
    """A Deployment and its Service; the Secret with ca.crt, tls.crt and tls.key is mounted at TLS_DIR."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": "redis:7",
        "command": list(command),
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": TLS_DIR}] if tls_secret else [],
    }
    spec = {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "tls", "secret": {"secretName": tls_secret}}] if tls_secret else [],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"port": port}]},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [deployment, service]}
