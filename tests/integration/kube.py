"""What the stories ask of the API server: make pools, and wait for what becomes of them by watching.

kube = Kube(control_plane.kubeconfig, namespace)
kube.create_pool("ml", "redis://127.0.0.1:6379/0", queues=["ml"])
kube.wait_for_replicas("ml", 5)
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.watch

POOLS = {"group": "celeriac.dev", "version": "v1alpha1", "plural": "celeryworkerpools"}
DEPLOYMENTS = {"group": "apps", "version": "v1", "plural": "deployments"}
AUTOSCALERS = {"group": "autoscaling", "version": "v2", "plural": "horizontalpodautoscalers"}
EVENTS = {"group": "events.k8s.io", "version": "v1", "plural": "events"}
LEASES = {"group": "coordination.k8s.io", "version": "v1", "plural": "leases"}
MERGE_PATCH = "application/merge-patch+json"
WAIT_SECONDS = 20

Body = dict[str, Any]


class Kube:
    """One namespace of a real API server, seen as an administrator. Objects are plain dicts, as in their YAML."""

    def __init__(self, kubeconfig: Path, namespace: str, patience: float = WAIT_SECONDS) -> None:
        """`patience`: seconds that each wait lasts which names no other."""
        client = kubernetes.config.new_client_from_config(str(kubeconfig))
        self.namespace = namespace
        self.patience = patience
        self.core = kubernetes.client.CoreV1Api(client)
        self._objects: Any = kubernetes.client.CustomObjectsApi(client)

    def create(self, kind: dict[str, str], body: Body) -> Body:
        """Create an object of a kind with a group."""
        created: Body = self._objects.create_namespaced_custom_object(namespace=self.namespace, body=body, **kind)
        return created

    def try_create(self, kind: dict[str, str], body: Body) -> None:
        """Offer an object, which is checked as ever, unknown fields too, and not stored; raises ApiException."""
        self._objects.create_namespaced_custom_object(
            namespace=self.namespace, body=body, dry_run="All", field_validation="Strict", **kind
        )

    def get(self, kind: dict[str, str], name: str) -> Body:
        """The object as it is now."""
        found: Body = self._objects.get_namespaced_custom_object(namespace=self.namespace, name=name, **kind)
        return found

    def list(self, kind: dict[str, str]) -> Sequence[Body]:
        """All objects of the kind in the namespace."""
        found: Body = self._objects.list_namespaced_custom_object(namespace=self.namespace, **kind)
        items: Sequence[Body] = found["items"]
        return items

    def patch(self, kind: dict[str, str], name: str, patch: Body) -> Body:
        """A JSON merge patch (RFC 7386); the object as it was then."""
        patched: Body = self._objects.patch_namespaced_custom_object(
            namespace=self.namespace, name=name, body=patch, _content_type=MERGE_PATCH, **kind
        )
        return patched

    def patch_status(self, kind: dict[str, str], name: str, status: Body) -> None:
        """A JSON merge patch of the status alone."""
        self._objects.patch_namespaced_custom_object_status(
            namespace=self.namespace, name=name, body={"status": status}, _content_type=MERGE_PATCH, **kind
        )

    def delete(self, kind: dict[str, str], name: str) -> None:
        """As kubectl delete: the garbage collector follows."""
        self._objects.delete_namespaced_custom_object(namespace=self.namespace, name=name, **kind)

    def create_secret(self, name: str, **values: str) -> None:
        """A Secret of plain texts."""
        self.core.create_namespaced_secret(self.namespace, {"metadata": {"name": name}, "stringData": values})

    def replace_secret(self, name: str, **values: str) -> None:
        """New texts for keys of a Secret that is there."""
        self.core.patch_namespaced_secret(name, self.namespace, {"stringData": values})

    def create_pool(self, name: str, broker_url: str | None = None, *, labels: Any = None, **spec: Any) -> Body:
        """A solo pool of `name` on the queue of the same name, at zero one second after it is idle.

        Without a URL the broker is in the key `url` of the Secret `broker`.
        """
        secret = {"urlFrom": {"secretKeyRef": {"name": "broker", "key": "url"}}}
        broker = {"url": broker_url} if broker_url else secret
        given = {"image": "app:1", "app": "app", "pool": "solo", "queues": [name], "broker": broker}
        body = {
            "apiVersion": "celeriac.dev/v1alpha1",
            "kind": "CeleryWorkerPool",
            "metadata": {"name": name, "labels": labels or {}},
            "spec": given | {"scaling": {"scaleToZeroAfterSeconds": 1}} | spec,
        }
        return self.create(POOLS, body)

    def replicas(self, name: str) -> int:
        """spec.replicas of the pool's Deployment as it is now."""
        replicas: int = self.get(DEPLOYMENTS, name)["spec"]["replicas"]
        return replicas

    def wait_for(
        self, kind: dict[str, str], name: str, holds: Callable[[Body], bool], seconds: float | None = None
    ) -> Body:
        """The first state of the object for which `holds`; AssertionError with the last state otherwise."""
        last: Body | None = None
        for last in self._states(kind, f"metadata.name={name}", seconds):
            if last is not None and holds(last):
                return last
        raise AssertionError(f"not reached within {seconds or self.patience} s; last seen: {last}")

    def wait_for_pool(self, name: str, holds: Callable[[Body], bool], seconds: float | None = None) -> Body:
        """The first state of the pool for which `holds`."""
        return self.wait_for(POOLS, name, holds, seconds)

    def condition(self, name: str, type: str) -> Body:
        """The condition of a pool as it is now; empty where there is none."""
        return _condition(self.get(POOLS, name), type)

    def wait_for_condition(self, name: str, type: str, status: str, reason: str) -> Body:
        """The condition of a pool, once it has this status and reason."""
        wanted = {"status": status, "reason": reason}
        found = self.wait_for_pool(name, lambda pool: _condition(pool, type).items() >= wanted.items())
        return _condition(found, type)

    def wait_for_replicas(self, name: str, replicas: int, seconds: float | None = None) -> None:
        """Wait until the Deployment wants so many."""
        self.wait_for(DEPLOYMENTS, name, lambda found: bool(found["spec"]["replicas"] == replicas), seconds)

    def wait_until_gone(self, kind: dict[str, str], name: str, seconds: float | None = None) -> None:
        """Until the object is no more."""
        if not any(state is None for state in self._states(kind, f"metadata.name={name}", seconds)):
            raise AssertionError(f"{kind['plural']} {name} is still there after {seconds or self.patience} s")

    def wait_for_lease_renewal(self) -> None:
        """Until the operator of this namespace has renewed its Lease once more."""
        before = self.get(LEASES, "celeriac")["spec"]["renewTime"]
        self.wait_for(LEASES, "celeriac", lambda lease: bool(lease["spec"]["renewTime"] != before))

    def wait_for_event(self, name: str, reason: str, seconds: float | None = None) -> Body:
        """The first event of this reason on an object of the name."""
        selector = f"regarding.name={name},reason={reason}"
        for event in self._states(EVENTS, selector, seconds):
            if event is not None:
                return event
        raise AssertionError(f"no event {reason} on {name} within {seconds or self.patience} s")

    def _states(self, kind: dict[str, str], selector: str, seconds: float | None) -> Iterator[Body | None]:
        """The selected object as it is, then after each change, None where there is none; ends after `seconds`."""
        deadline = time.monotonic() + (seconds or self.patience)
        while (left := deadline - time.monotonic()) > 0:
            query = {"namespace": self.namespace, "field_selector": selector, **kind}
            listed = self._objects.list_namespaced_custom_object(**query)
            yield listed["items"][0] if listed["items"] else None
            watch = kubernetes.watch.Watch()
            for event in watch.stream(
                self._objects.list_namespaced_custom_object,
                **query,
                resource_version=listed["metadata"]["resourceVersion"],
                timeout_seconds=max(1, int(left)),
            ):
                yield None if event["type"] == "DELETED" else event["object"]


def _condition(pool: Body, type: str) -> Body:
    conditions: Sequence[Body] = pool.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == type), {})
