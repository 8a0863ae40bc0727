"""A CeleryWorkerPool on a real API server, without an operator: for tests of what the operator writes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.cluster.client import Api
from celeriac.cluster.paths import PODS, REPLICA_SETS
from celeriac.cluster.records import DeploymentRecord
from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds

LABELS = {"celeriac.dev/pool": "ml"}


class LivePool:
    """The pool `ml` of one namespace, and the manifest of its Deployment."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.control_plane = control_plane
        self.key = PoolKey(namespace, "ml")
        self.uid = self.create()

    def create(self) -> str:
        spec = {"image": "app:1", "app": "app", "broker": {"url": "redis://redis:6379/0"}}
        body = {"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryWorkerPool", "spec": spec}
        made = self.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps({**body, "metadata": {"name": "ml"}}))
        return str(json.loads(made)["metadata"]["uid"])

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.control_plane.kubectl(f"--namespace={self.key.namespace}", *arguments, stdin=stdin)

    @property
    def reference(self) -> dict[str, str]:
        identity = {"namespace": self.key.namespace, "name": "ml", "uid": self.uid}
        return {"apiVersion": "celeriac.dev/v1alpha1", "kind": "CeleryWorkerPool", **identity}

    def manifest(self, image: str = "app:1") -> dict[str, Any]:
        owner = {name: self.reference[name] for name in ("apiVersion", "kind", "name", "uid")}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**self.key._asdict(), "labels": LABELS, "ownerReferences": [{**owner, "controller": True}]},
            "spec": {
                "selector": {"matchLabels": LABELS},
                "strategy": {"rollingUpdate": {"maxUnavailable": 0}},  # without nodes a rollout never ends
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {"containers": [{"name": "worker", "image": image}]},
                },
            },
        }

    async def settled(self, api: Api) -> DeploymentRecord:
        """The Deployment, once its controller has seen all that was written."""
        body = await api.read_deployment(self.key)
        generation = f"--for=jsonpath={{.status.observedGeneration}}={body['metadata']['generation']}"
        await asyncio.to_thread(self.kubectl, "wait", generation, "deployment/ml", "--timeout=30s")
        return DeploymentRecord.from_body(await api.read_deployment(self.key))

    async def wait_for_replicas(self, replicas: int) -> None:
        """Until the controller has made so many pods, which stay pending here."""
        made = f"--for=jsonpath={{.status.replicas}}={replicas}"
        await asyncio.to_thread(self.kubectl, "wait", made, "deployment/ml", "--timeout=30s")

    async def never_had_a_pod(self, api: Api) -> bool:
        """Whether no ReplicaSet ever wanted one: each change of its spec counts its generation up, of replicas too."""
        sets = await api.list_all(REPLICA_SETS, self.key.namespace)
        never_changed = [one["spec"]["replicas"] == 0 and one["metadata"]["generation"] == 1 for one in sets]
        return bool(sets) and all(never_changed) and not await api.list_all(PODS, self.key.namespace)


@pytest.fixture(scope="module")
def pools(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, with our API."""
    install_crds(control_plane)
    return control_plane


@pytest.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    """The administrator's client."""
    async with await Api.connect(str(control_plane.kubeconfig)) as connected:
        yield connected


@pytest.fixture
def pool(pools: ControlPlane, namespace: str) -> LivePool:
    """The pool `ml` in a namespace of this test's own."""
    return LivePool(pools, namespace)
