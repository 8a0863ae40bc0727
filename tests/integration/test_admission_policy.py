"""The chart's ValidatingAdmissionPolicies: what the operator may not write, even with a cluster administrator's role.

Every request is a dry run with a token of the operator's ServiceAccount.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from celeriac.cluster.client import Api
from celeriac.cluster.connection import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH
from celeriac.cluster.errors import ApiError
from celeriac.resources import build_agent_config
from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.chart_rights import ChartRights
from tests.integration.crds import install_crds
from tests.integration.helm import RELEASE

pytestmark = pytest.mark.integration

SYSTEM, SHOP = "operator-with-policies", "shop-with-policies"
AGENT = build_agent_config(SHOP, {"__init__.py": "# agent"})
ADMINISTRATOR = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": SYSTEM},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": SYSTEM}],
}
POOL = {
    "apiVersion": "celeriac.dev/v1alpha1",
    "kind": "CeleryWorkerPool",
    "metadata": {"name": "ml", "namespace": SHOP},
    "spec": {"image": "app:1", "app": "app", "broker": {"url": "redis://redis:6379/0"}},
}

STRATEGIC_PATCH = "application/strategic-merge-patch+json"

Body = dict[str, Any]


class Ask(NamedTuple):
    """One request of the operator, and what the policy says to it; nothing where it is let through."""

    verb: str
    path: str
    body: Any
    refused: str = ""
    content: str = JSON


def deployment(name: str, labels: dict[str, str], owner: Body | None = None) -> Body:
    """Of one worker, as the operator writes it as far as the policies look."""
    metadata: Body = {"name": name, "namespace": SHOP, "labels": labels}
    pod = {"automountServiceAccountToken": False, "containers": [{"name": "worker", "image": "app:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata | ({"ownerReferences": [owner]} if owner else {}),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


class Shop:
    """A namespace with the pool `ml`, its Deployment and Pod, and a Deployment `web` that is none of its business."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        uid = json.loads(self.create(POOL))["metadata"]["uid"]
        self.owner = {"apiVersion": POOL["apiVersion"], "kind": POOL["kind"], "name": "ml", "uid": uid}
        self.owner |= {"controller": True, "blockOwnerDeletion": True}
        self.ours = deployment("ml", {"celeriac.dev/pool": "ml"}, self.owner)
        self.create(self.ours)
        self.create(deployment("web", {"app": "web"}))
        self.create(lease(RELEASE, SYSTEM))
        self.create({**AGENT, "metadata": {**AGENT["metadata"], "name": "settings"}})
        bare = {"name": "bare", "namespace": SHOP, "labels": {"celeriac.dev/pool": "ml"}}
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": bare, "spec": {"containers": [WORKER]}})
        self.pod = self._name("pods", "celeriac.dev/pool=ml,pod-template-hash")
        self.replica_set = self._name("replicasets", "celeriac.dev/pool=ml")
        self.web_pod, self.web_set = self._name("pods", "app=web"), self._name("replicasets", "app=web")

    def create(self, body: Body) -> str:
        return self._control_plane.kubectl("create", "-f", "-", "-ojson", stdin=json.dumps(body))

    def _name(self, kind: str, selector: str) -> str:
        def names() -> str:
            ask = ("get", kind, f"--namespace={SHOP}", f"--selector={selector}", "-ojsonpath={.items[*].metadata.name}")
            return self._control_plane.kubectl(*ask)

        wait_until(lambda: bool(names()), f"{kind} of {selector}", seconds=30)
        return names().split()[0]


WORKER = {"name": "worker", "image": "app:1"}


@pytest.fixture(scope="module")
def rights(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartRights]:
    install_crds(control_plane)
    for name in (SYSTEM, SHOP):
        control_plane.kubectl("create", "namespace", name)
        control_plane.wait_for_service_account(name)
    given = ChartRights(control_plane, tmp_path_factory.mktemp("helm"), SYSTEM)
    given.give()
    yield given
    given.take()
    control_plane.kubectl("delete", "namespace", SYSTEM, SHOP, "--wait=false")


@pytest.fixture(scope="module")
def shop(rights: ChartRights, control_plane: ControlPlane) -> Shop:
    return Shop(control_plane)


@pytest.fixture
async def api(rights: ChartRights) -> AsyncIterator[Api]:
    """With the operator's own token."""
    async with await Api.connect(str(rights.kubeconfig())) as connected:
        yield connected


async def answer(api: Api, ask: Ask) -> str:
    """What the API server says against it; nothing where it takes it."""
    query = {"dryRun": "All"}
    if ask.verb in ("patch", "apply"):
        query["fieldManager"] = "celeriac"
    if ask.verb == "apply":
        query["force"] = "true"
    try:
        await api.connection.request(ask.verb, "any", ask.path, query=query, body=ask.body, content_type=ask.content)
    except ApiError as error:
        return error.message
    return ""


def changed(body: Body, *path: str, to: Any) -> Body:
    """A copy with another value at the path."""
    new = copy.deepcopy(body)
    place = new
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return new


def annotate(pod: str, refused: str = "", **annotations: str | None) -> Ask:
    names = {"drain": "celeriac.dev/drain", "cost": "controller.kubernetes.io/pod-deletion-cost"}
    body = {"metadata": {"annotations": {names.get(key, key): value for key, value in annotations.items()}}}
    return Ask("patch", f"{CORE}/pods/{pod}", body, refused, MERGE_PATCH)


CORE, APPS, OURS = (
    f"/api/v1/namespaces/{SHOP}",
    f"/apis/apps/v1/namespaces/{SHOP}",
    f"/apis/celeriac.dev/v1alpha1/namespaces/{SHOP}/celeryworkerpools",
)
EVENTS = f"/api/v1/namespaces/{SHOP}/events"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
BUSINESS = "the operator has no business with"


def event(controller: str) -> Body:
    regarding = {"apiVersion": POOL["apiVersion"], "kind": POOL["kind"], "name": "ml", "namespace": SHOP}
    words = {"type": "Normal", "reason": "ScaledUp", "action": "Reconcile", "message": "to 3"}
    source = {"reportingComponent": controller, "reportingInstance": "one", "eventTime": "2026-01-02T03:04:05.000000Z"}
    head = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "ml.1", "namespace": SHOP}}
    return {**head, "involvedObject": regarding, **words, **source}


def lease(name: str, namespace: str) -> Body:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}


def its_own(shop: Shop) -> list[Ask]:
    """One of each write that the operator makes."""
    scale = {"spec": {"replicas": 2}}
    return [
        annotate(shop.pod, drain="token", cost="-1000"),
        annotate(shop.pod, drain=None, cost=None),
        Ask("apply", f"{APPS}/deployments/ml", shop.ours, content=APPLY_PATCH),
        Ask("patch", f"{APPS}/deployments/ml/scale", scale, content=MERGE_PATCH),
        Ask("patch", f"{APPS}/replicasets/{shop.replica_set}/scale", scale, content=MERGE_PATCH),
        Ask("create", f"{CORE}/configmaps", AGENT),
        Ask("create", EVENTS, event("celeriac.dev/operator")),
        Ask("patch", f"{OURS}/ml/status", [{"op": "add", "path": "/status", "value": {}}], content=JSON_PATCH),
    ]


def pods(shop: Shop) -> list[Ask]:
    mine, only = "may only touch Pods of its pools", "may only change the annotations celeriac.dev/drain"
    nothing, pod = "may change nothing of a Pod but two annotations", f"{CORE}/pods/{shop.pod}"
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}
    return [
        annotate(shop.web_pod, mine, drain="token"),
        annotate("bare", mine, drain="token"),
        annotate(shop.pod, only, note="text"),
        annotate(shop.pod, only, **{"celeriac.dev/broker": "redis://elsewhere"}),
        Ask("patch", pod, {"metadata": {"labels": {"celeriac.dev/pool": "other"}}}, nothing, MERGE_PATCH),
        Ask("patch", pod, {"metadata": {"finalizers": ["example.com/keep"]}}, nothing, MERGE_PATCH),
        Ask("patch", pod, {"metadata": {"ownerReferences": [foreign]}}, nothing, MERGE_PATCH),
        Ask("patch", pod, [{"op": "replace", "path": "/spec/containers/0/image", "value": "x"}], nothing, JSON_PATCH),
        Ask("patch", pod, {"spec": {"activeDeadlineSeconds": 1}}, nothing, MERGE_PATCH),
        Ask(
            "patch", f"{pod}/status", {"status": {"phase": "Failed"}}, f"{BUSINESS} UPDATE of pods/status", MERGE_PATCH
        ),
        Ask("patch", pod, {"metadata": {"labels": {"celeriac.dev/pool": None}}}, nothing, MERGE_PATCH),
        Ask("apply", pod, {**named("v1", "Pod", shop.pod), "metadata": {"annotations": {"a": "b"}}}, only, APPLY_PATCH),
        Ask(
            "patch",
            f"{pod}/ephemeralcontainers",
            {"spec": {"ephemeralContainers": [{"name": "debug", "image": "x"}]}},
            f"{BUSINESS} UPDATE of pods/ephemeralcontainers",
            STRATEGIC_PATCH,
        ),
        Ask(
            "create",
            f"{pod}/binding",
            {**named("v1", "Binding", shop.pod), "target": {"apiVersion": "v1", "kind": "Node", "name": "n"}},
            f"{BUSINESS} CREATE of pods/binding",
        ),
        Ask("get", f"{pod}/exec?command=sh", None, f"{BUSINESS} CONNECT of pods/exec"),
        Ask(
            "apply",
            f"{CORE}/pods/own",
            {**named("v1", "Pod", "own"), "spec": {"containers": [WORKER]}},
            f"{BUSINESS} CREATE of pods",
            APPLY_PATCH,
        ),
        Ask("delete", pod, {}, f"{BUSINESS} DELETE of pods"),
        Ask("delete", f"{CORE}/pods", {}, f"{BUSINESS} DELETE of pods"),
        Ask("create", f"{pod}/eviction", eviction(shop.pod), f"{BUSINESS} CREATE of pods/eviction"),
        Ask("create", f"{pod}/exec?command=sh&container=worker", {}, f"{BUSINESS} CONNECT of pods/exec"),
        Ask(
            "create",
            f"{CORE}/pods",
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own"}, "spec": {"containers": [WORKER]}},
            f"{BUSINESS} CREATE of pods",
        ),
    ]


def named(api_version: str, kind: str, name: str) -> Body:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}


def eviction(pod: str) -> Body:
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": SHOP}}


def deployments(shop: Shop) -> list[Ask]:
    controls, over = "that the CeleryWorkerPool of its name controls", "may not take over a Deployment"
    selects, outside = "that selects the Pods of its pool", "outside of the node's namespaces"
    path = f"{APPS}/deployments/ml"
    owner = {**shop.owner, "name": "gpu"}
    good = deployment("gpu", {"celeriac.dev/pool": "gpu"}, owner)
    another = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1", "blockOwnerDeletion": True}
    keep, kept = ["example.com/keep"], "may not keep a Deployment by a finalizer"
    other = deployment("gpu", {"celeriac.dev/pool": "gpu"}, shop.owner)
    pod = ("spec", "template", "spec")
    asks = [
        Ask("create", f"{APPS}/deployments", deployment("gpu", {"celeriac.dev/pool": "gpu"}), controls),
        Ask("create", f"{APPS}/deployments", other, controls),
        Ask(
            "create",
            f"{APPS}/deployments",
            changed(
                other,
                "metadata",
                "ownerReferences",
                to=[{**shop.owner, "kind": "ConfigMap", "apiVersion": "v1", "name": "gpu"}],
            ),
            controls,
        ),
        Ask("patch", f"{APPS}/deployments/web", {"spec": {"replicas": 0}}, controls, MERGE_PATCH),
        Ask(
            "patch",
            f"{APPS}/deployments/web",
            {"metadata": {"ownerReferences": [{**shop.owner, "name": "web"}]}},
            over,
            MERGE_PATCH,
        ),
        Ask("patch", path, {"metadata": {"ownerReferences": None}}, controls, MERGE_PATCH),
        Ask("create", f"{APPS}/deployments", deployment("gpu", {"app": "web"}, {**shop.owner, "name": "gpu"}), selects),
        Ask("create", f"{APPS}/deployments", changed(good, "metadata", "ownerReferences", to=[owner, another]), over),
        Ask("create", f"{APPS}/deployments", changed(good, "metadata", "finalizers", to=keep), kept),
        Ask("patch", path, {"metadata": {"finalizers": keep}}, kept, MERGE_PATCH),
        Ask(
            "create",
            "/apis/apps/v1/namespaces/kube-system/deployments",
            changed(good, "metadata", "namespace", to="kube-system"),
            "no pool in kube-system",
        ),
        Ask(
            "create",
            f"{APPS}/deployments",
            {**good, "metadata": {"generateName": "gpu", "ownerReferences": [owner]}},
            controls,
        ),
        Ask("patch", f"{path}/status", {"status": {"replicas": 9}}, f"{BUSINESS} UPDATE of deployments/s", MERGE_PATCH),
        Ask("delete", path, {}, f"{BUSINESS} DELETE of deployments"),
        Ask("delete", f"{APPS}/deployments", {}, f"{BUSINESS} DELETE of deployments"),
    ]
    for field, value in (
        ("automountServiceAccountToken", True),
        ("hostNetwork", True),
        ("hostPID", True),
        ("hostIPC", True),
        ("nodeName", "node-1"),
        ("containers", [{**WORKER, "name": "miner"}]),
    ):
        asks.append(Ask("create", f"{APPS}/deployments", changed(good, *pod, field, to=value), outside))
    return asks


def others(shop: Shop) -> list[Ask]:
    scale, labels = {"spec": {"replicas": 0}}, AGENT["metadata"]["labels"]
    named_after = "what selects the Pods of the pool that it is named after"
    secret = {"apiVersion": "v1", "kind": "Secret", "name": "x", "namespace": SHOP}
    about_a_secret = changed(event("celeriac.dev/operator"), "involvedObject", to=secret)
    pod = {"apiVersion": "v1", "kind": "Pod", "name": "x", "namespace": SHOP}
    source = {"reportingController": "kubelet", "reportingInstance": "one", "eventTime": "2026-01-02T03:04:05.000000Z"}
    newer = {**named("events.k8s.io/v1", "Event", "e"), "regarding": pod, "type": "Normal", **source}
    newer |= {"reason": "R", "action": "A"}
    newer["metadata"]["namespace"] = SHOP
    agent, settings = "ConfigMaps with its agent", f"{CORE}/configmaps/settings"
    reader = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    own = LEASES.format(SYSTEM)
    return [
        Ask("patch", f"{APPS}/deployments/web/scale", scale, named_after, MERGE_PATCH),
        Ask("patch", f"{APPS}/replicasets/{shop.web_set}/scale", scale, named_after, MERGE_PATCH),
        Ask("patch", f"{APPS}/replicasets/{shop.replica_set}", scale, f"{BUSINESS} UPDATE of replicasets", MERGE_PATCH),
        Ask("create", f"{CORE}/configmaps", {**AGENT, "metadata": {"name": "x", "labels": labels}}, agent),
        Ask("create", f"{CORE}/configmaps", changed(AGENT, "immutable", to=False), "that nobody can change"),
        Ask("delete", settings, {}, agent),
        Ask("delete", f"{CORE}/configmaps", {}, agent),
        Ask("create", f"{CORE}/configmaps", changed(AGENT, "metadata", "finalizers", to=["example.com/keep"]), "tie"),
        Ask(
            "create",
            f"{CORE}/configmaps",
            {**AGENT, "metadata": {"generateName": AGENT["metadata"]["name"], "labels": labels}},
            agent,
        ),
        Ask("patch", settings, {"metadata": {"labels": {"a": "b"}}}, f"{BUSINESS} UPDATE of configmaps", MERGE_PATCH),
        Ask("create", f"{CORE}/secrets", reader, f"{BUSINESS} CREATE of secrets"),
        Ask("create", f"{CORE}/serviceaccounts/default/token", token, f"{BUSINESS} CREATE of serviceaccounts/token"),
        Ask(
            "create",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            changed(ADMINISTRATOR, "metadata", "name", to="more"),
            f"{BUSINESS} CREATE of clusterrolebindings",
        ),
        Ask("create", EVENTS, event("example.com/other"), "events of its own"),
        Ask("create", EVENTS, about_a_secret, "about pools"),
        Ask("create", f"/apis/events.k8s.io/v1/namespaces/{SHOP}/events", newer, "events of its own"),
        Ask(
            "patch",
            f"{APPS}/replicasets/{shop.replica_set}/status",
            scale,
            f"{BUSINESS} UPDATE of replicasets/s",
            MERGE_PATCH,
        ),
        Ask(
            "apply",
            f"{APPS}/deployments/web/scale",
            {**named("autoscaling/v1", "Scale", "web"), "spec": {"replicas": 3}},
            named_after,
            APPLY_PATCH,
        ),
        Ask("create", LEASES.format(SHOP), lease(RELEASE, SHOP), "its own Lease"),
        Ask("create", own, lease("other", SYSTEM), "its own Lease"),
        Ask("delete", f"{own}/{RELEASE}", {}, f"{BUSINESS} DELETE of leases"),
        Ask("patch", f"{OURS}/ml", {"spec": {"replicas": 5}}, f"{BUSINESS} UPDATE of celeryworkerpools", MERGE_PATCH),
        Ask("patch", f"{OURS}/ml/scale", scale, f"{BUSINESS} UPDATE of celeryworkerpools/scale", MERGE_PATCH),
        Ask("delete", f"{OURS}/ml", {}, f"{BUSINESS} DELETE of celeryworkerpools"),
        Ask("delete", f"/api/v1/namespaces/{SHOP}", {}, f"{BUSINESS} DELETE of namespaces"),
    ]


async def test_nobody_else_is_hindered(control_plane: ControlPlane, shop: Shop) -> None:
    """An administrator, and a ServiceAccount whose name begins like the operator's."""
    label = ("label", "--dry-run=server", f"--namespace={SHOP}", "pod", shop.web_pod, "a=b")
    other = f"--as=system:serviceaccount:{SYSTEM}:{RELEASE}-2"
    for who in ((), (other, "--as-group=system:masters")):
        said = await asyncio.to_thread(control_plane.kubectl, *label, *who)
        assert "labeled" in said


async def test_what_the_operator_writes_is_let_through(api: Api, shop: Shop) -> None:
    for ask in its_own(shop):
        assert await answer(api, ask) == "", ask


async def test_what_it_never_writes_is_refused_whatever_its_roles(
    api: Api, rights: ChartRights, shop: Shop, control_plane: ControlPlane
) -> None:
    """With the role cluster-admin, so that nothing but the policies is in the way."""
    await asyncio.to_thread(control_plane.kubectl, "create", "-f", "-", stdin=json.dumps(ADMINISTRATOR))
    try:
        said = [(ask, await answer(api, ask)) for ask in (*pods(shop), *deployments(shop), *others(shop))]
    finally:
        await asyncio.to_thread(control_plane.kubectl, "delete", "clusterrolebinding", SYSTEM)
    assert len(said) > 60
    for ask, words in said:
        assert "ValidatingAdmissionPolicy" in words, ask
        assert ask.refused in words, ask


@pytest.mark.full
def test_they_are_left_out_where_the_api_server_has_none(rights: ChartRights) -> None:
    kinds = {"ValidatingAdmissionPolicy"}
    assert len(rights.manifests(kinds)) == 10
    assert rights.manifests(kinds, admissionPolicy={"enabled": False}) == []
    assert rights.manifests(kinds, kube_version="1.29.0") == []
