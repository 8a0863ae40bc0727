"""A node that only the API server knows: what its kubelet would write of Pods is written by hand.

with FakeNode(kube) as node:
    pod = node.run("ml-1", pool="ml", broker=reference)
    pod.ends(time.time(), "OOMKilled")      # or pod.delete(), pod.is_removed(), node.delete()
"""

import json
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from celeriac.api.names import BROKER_ANNOTATION, POOL_LABEL, WORKER_CONTAINER
from tests.integration.kube import Body, Kube

OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}


def api_time(unix: float) -> str:
    """As the API keeps it: in whole seconds, rounded down."""
    return datetime.fromtimestamp(int(unix), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def terminated(at: float, reason: str, code: int = 1) -> Body:
    """The state of a container that ended (Unix seconds)."""
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": api_time(0), "finishedAt": api_time(at)}}


class FakePod:
    """A Pod on such a node, with one container for the worker."""

    def __init__(self, kube: Kube, body: Body) -> None:
        self._core: Any = kube.core
        self.namespace, self.name, self.uid = kube.namespace, body["metadata"]["name"], body["metadata"]["uid"]

    def runs(self, *, restarts: int = 0, last_state: Body | None = None, since: float = 0) -> None:
        """Its container runs since then (Unix seconds) and is ready; `last_state` is that of the container before."""
        state = {"running": {"startedAt": api_time(since)}}
        self._tell("Running", state, ready=True, restarts=restarts, last_state=last_state)

    def is_not_ready(self) -> None:
        """Its container runs and is not ready any more."""
        self._tell("Running", {"running": {"startedAt": api_time(0)}})

    def waits(self, reason: str, message: str, *, restarts: int = 0) -> None:
        """Its container waits, as the kubelet says why; where it had ended before, with code 1."""
        state = {"waiting": {"reason": reason, "message": message}}
        last = terminated(0, "Error") if restarts else None
        self._tell("Pending", state, restarts=restarts, last_state=last)

    def has_no_volumes(self) -> None:
        """A node has it, and its volumes and its network are not there yet."""
        conditions = [{"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": api_time(0)}]
        told = {"status": {"phase": "Pending", "conditions": conditions}}
        self._core.patch_namespaced_pod_status(self.name, self.namespace, told)

    def crashes(self, log: str, *, code: int = 1, reason: str = "Error") -> None:
        """Its container has ended twice, and waits to be started anew; `log` is what the kubelet keeps of its log."""
        last = terminated(0, reason, code)
        last["terminated"]["message"] = log
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}}
        self._tell("Running", state, restarts=2, last_state=last)

    def finds_no_node(self, message: str) -> None:
        """The scheduler's words."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        self._core.patch_namespaced_pod_status(self.name, self.namespace, {"status": {"conditions": [condition]}})

    def ends(self, at: float, reason: str = "Error", *, evicted: bool = False) -> None:
        """Its container ended at `at` (Unix seconds); a Pod that is `evicted` has then come to its end."""
        self._tell("Failed" if evicted else "Running", terminated(at, reason), reason="Evicted" if evicted else None)

    def has_ended(self, at: float, reason: str = "Error") -> None:
        """All of it: no container is started anew."""
        self._tell("Failed", terminated(at, reason))

    def delete(self) -> None:
        """As kubectl delete: it is Terminating until the kubelet says that it is gone."""
        self._core.delete_namespaced_pod(self.name, self.namespace, grace_period_seconds=600)

    def is_removed(self) -> None:
        """The kubelet's last word, and that of `kubectl delete --force`."""
        self._core.delete_namespaced_pod(self.name, self.namespace, grace_period_seconds=0)

    def annotations(self) -> dict[str, str]:
        """As they are now."""
        found: dict[str, str] | None = self._core.read_namespaced_pod(self.name, self.namespace).metadata.annotations
        return found or {}

    def _tell(
        self,
        phase: str,
        state: Body,
        *,
        ready: bool = False,
        restarts: int = 0,
        last_state: Body | None = None,
        reason: str | None = None,
    ) -> None:
        container = {"name": WORKER_CONTAINER, "image": "app:1", "imageID": "", "ready": ready, "state": state}
        container |= {"restartCount": restarts, "lastState": last_state or {}}
        conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": api_time(0)}]
        told = {"phase": phase, "conditions": conditions, "containerStatuses": [container], "reason": reason}
        self._core.patch_namespaced_pod_status(self.name, self.namespace, {"status": told})


class FakeNode:
    """A Node; its name is that of the namespace and a word."""

    def __init__(self, kube: Kube, word: str = "node") -> None:
        self._kube = kube
        self._core: Any = kube.core
        self.name = f"{kube.namespace}-{word}"

    def run(self, name: str, pool: str, broker: str | None = None, **metadata: Any) -> FakePod:
        """A Pod of a pool whose container runs; it bears every taint, so that nobody evicts it."""
        annotations = {BROKER_ANNOTATION: broker} if broker else {}
        body = {
            "metadata": {"name": name, "labels": {POOL_LABEL: pool}, "annotations": annotations, **metadata},
            "spec": {
                "nodeName": self.name,
                "containers": [{"name": WORKER_CONTAINER, "image": "app:1"}],
                "tolerations": [{"operator": "Exists"}],
                "automountServiceAccountToken": False,
            },
        }
        made = self._core.create_namespaced_pod(self._kube.namespace, body).to_dict()
        pod = FakePod(self._kube, made)
        pod.runs()
        return pod

    def is_ready(self) -> None:
        """Its kubelet is well; nothing is heard of it otherwise, and after a minute all its Pods are not ready."""
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": api_time(time.time()),
        }
        self._core.patch_node_status(self.name, {"status": {"conditions": [ready]}})

    def read(self) -> Body:
        """The Node as it is now."""
        found: Body = json.loads(self._core.read_node(self.name, _preload_content=False).data)
        return found

    def is_out_of_service(self) -> None:
        """Somebody says that the node is off for good."""
        self._core.patch_node(self.name, {"spec": {"taints": [OUT_OF_SERVICE]}})

    def delete(self) -> None:
        """The machine is no more."""
        self._core.delete_node(self.name)

    def create(self) -> None:
        """A machine joins."""
        self._core.create_node({"metadata": {"name": self.name}})

    def __enter__(self) -> Self:
        self.create()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if any(node.metadata.name == self.name for node in self._core.list_node().items):
            self.delete()
