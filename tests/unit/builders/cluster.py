"""Bodies as the API server gives them, for a Store."""

from typing import Any

from celeriac.api.names import BROKER_ANNOTATION, POOL_LABEL, WORKER_CONTAINER
from celeriac.pool.broker import broker_reference
from celeriac.pool.model import BrokerSpec
from tests.unit.builders.workers import KEY

Body = dict[str, Any]


def pool_body(
    name: str = KEY.name, uid: str = "pool", *, namespace: str = KEY.namespace, agent: str = "enabled", **broker: Any
) -> Body:
    """A CeleryWorkerPool; `broker` is its spec.broker."""
    metadata = {"namespace": namespace, "name": name, "uid": uid, "generation": 1}
    return {"metadata": metadata, "spec": {"image": "app:1", "app": "app", "agent": agent, "broker": broker}}


def secret_of(name: str) -> Body:
    """spec.broker.urlFrom."""
    return {"secretKeyRef": {"name": name, "key": "url"}}


def pod_body(
    name: str,
    uid: str,
    *,
    pool: str = KEY.name,
    namespace: str = KEY.namespace,
    broker: BrokerSpec | None = None,
    ended_at: str | None = None,
    has_ended: bool = False,
    node: str = "n1",
) -> Body:
    """A Pod whose worker runs, or ended at a time of the API; with `has_ended` the whole Pod has."""
    state: Body = {"running": {}}
    if ended_at is not None:
        state = {"terminated": {"finishedAt": ended_at, "reason": "Error", "exitCode": 1}}
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": uid,
            "labels": {POOL_LABEL: pool},
            "annotations": {BROKER_ANNOTATION: broker_reference(broker)} if broker is not None else {},
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": "Failed" if has_ended else "Running",
            "containerStatuses": [{"name": WORKER_CONTAINER, "state": state, "restartCount": 0}],
        },
    }
