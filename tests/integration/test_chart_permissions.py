"""The chart's roles: they suffice, and allow no more than they must. The API server's own authorizer is asked."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.helm import RELEASE, SYSTEM, Install

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Access:
    """One question to the API server's authorizer."""

    verb: str
    resource: str
    namespace: str = "shop"
    group: str = ""
    subresource: str = ""
    name: str = ""

    def review(self, user: str) -> dict[str, Any]:
        attributes = {key: value for key, value in vars(self).items() if value}
        spec = {"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes}
        return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def granted(cluster: ControlPlane, user: str, questions: list[Access]) -> list[Access]:
    reviews = yaml.safe_dump_all([question.review(user) for question in questions])
    answers = cluster.kubectl("create", "-f", "-", "-o", r'jsonpath={.status.allowed}{"\n"}', stdin=reviews).split()
    return [question for question, answer in zip(questions, answers, strict=True) if answer == "true"]


def pools(*verbs: str, subresource: str = "") -> list[Access]:
    return [Access(verb, "celeryworkerpools", group="celeriac.dev", subresource=subresource) for verb in verbs]


def lease(verb: str, name: str = RELEASE, namespace: str = SYSTEM) -> Access:
    return Access(verb, "leases", namespace, "coordination.k8s.io", name=name)


NEEDED = [
    *pools("get", "list", "watch"),
    *pools("patch", subresource="status"),
    *pools("update", subresource="finalizers"),
    *(Access(verb, "deployments", group="apps") for verb in ("get", "list", "watch", "create", "patch")),
    *(Access(verb, "deployments", group="apps", subresource="scale") for verb in ("get", "patch")),
    *(Access(verb, "replicasets", group="apps") for verb in ("get", "list")),
    Access("patch", "replicasets", group="apps", subresource="scale"),
    *(Access(verb, "pods") for verb in ("get", "list", "watch", "patch")),
    *(Access(verb, "configmaps") for verb in ("get", "list", "create", "delete")),
    Access("get", "secrets", name="broker"),
    *(Access(verb, "events") for verb in ("create", "patch")),
]
NODE = Access("get", "nodes", namespace="")
LEASE = [lease("get"), lease("update"), lease("create", name="")]
NEVER = [
    *pools("create", "update", "patch", "delete"),
    *pools("update", "patch", subresource="scale"),
    *(Access(verb, "deployments", group="apps") for verb in ("update", "delete", "deletecollection")),
    *(Access(verb, "replicasets", group="apps") for verb in ("watch", "create", "update", "patch", "delete")),
    *(Access(verb, "pods") for verb in ("create", "delete", "update")),
    Access("create", "pods", subresource="exec"),
    Access("create", "pods", subresource="eviction"),
    *(Access(verb, "configmaps") for verb in ("watch", "update", "patch", "deletecollection")),
    *(Access(verb, "nodes", namespace="") for verb in ("list", "watch", "update", "patch", "delete")),
    *(Access(verb, "secrets") for verb in ("list", "watch", "create", "update", "patch", "delete")),
    Access("create", "events", group="events.k8s.io"),
    Access("create", "serviceaccounts", subresource="token"),
    Access("list", "customresourcedefinitions", namespace="", group="apiextensions.k8s.io"),
    Access("list", "namespaces", namespace=""),
    Access("create", "rolebindings", group="rbac.authorization.k8s.io"),
    lease("get", name="other"),
    lease("delete"),
    lease("create", name="", namespace="shop"),
]
OPERATOR = f"system:serviceaccount:{SYSTEM}:{RELEASE}"


def test_the_operator_may_do_what_it_must_everywhere_and_nothing_else(
    install: Install, chart_cluster: ControlPlane
) -> None:
    install({})
    everywhere = [*NEEDED, *(replace(question, namespace="") for question in NEEDED), NODE]
    assert granted(chart_cluster, OPERATOR, [*everywhere, *LEASE]) == [*everywhere, *LEASE]
    assert granted(chart_cluster, OPERATOR, NEVER) == []


@pytest.mark.full
def test_with_a_selector_of_namespaces_it_may_also_find_these(install: Install, chart_cluster: ControlPlane) -> None:
    install({"namespaceSelector": "celeriac.dev/shard=a"})
    found = [Access(verb, "namespaces", namespace="") for verb in ("list", "watch")]
    assert granted(chart_cluster, OPERATOR, [*NEEDED, *found]) == [*NEEDED, *found]
    assert granted(chart_cluster, OPERATOR, NEVER) == found[:1], "and nothing else of what it never may"


@pytest.mark.full
def test_secrets_are_read_only_where_their_role_is_bound(install: Install, chart_cluster: ControlPlane) -> None:
    """By the chart, or by a namespace that brings its own binding when it comes."""
    install({"rbac": {"restrictSecrets": True, "secretNamespaces": ["shop"]}})
    secrets = [Access("get", "secrets", name="broker", namespace=name) for name in ("shop", "billing", SYSTEM, "")]
    assert granted(chart_cluster, OPERATOR, secrets) == secrets[:1]
    role = f"--clusterrole={SYSTEM}:{RELEASE}:secrets"
    chart_cluster.kubectl(
        "create", "rolebinding", "celeriac-secrets", role, f"--serviceaccount={SYSTEM}:{RELEASE}", "-nbilling"
    )
    wait_until(lambda: granted(chart_cluster, OPERATOR, secrets) == secrets[:2], "the second namespace", seconds=30)
    chart_cluster.kubectl("delete", "rolebinding", "celeriac-secrets", "-nbilling")
    others = [each for each in NEEDED if each.resource != "secrets"]
    assert granted(chart_cluster, OPERATOR, others) == others


@pytest.mark.full
def test_with_a_list_of_namespaces_it_may_do_so_only_there(install: Install, chart_cluster: ControlPlane) -> None:
    install({"watchNamespaces": ["shop", "billing"]})
    assert granted(chart_cluster, OPERATOR, [*NEEDED, *LEASE]) == [*NEEDED, *LEASE]
    assert granted(chart_cluster, OPERATOR, [NODE]) == []
    for elsewhere in ("other", SYSTEM, ""):
        questions = [replace(question, namespace=elsewhere) for question in NEEDED]
        assert granted(chart_cluster, OPERATOR, questions) == []
    assert granted(chart_cluster, OPERATOR, NEVER) == []


@pytest.mark.full
@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (
            "view",
            pools("get", "list", "watch"),
            [*pools("create", "delete"), *pools("patch", subresource="scale")],
        ),
        (
            "edit",
            [*pools("get", "create", "patch", "delete"), *pools("get", "patch", subresource="scale")],
            pools("patch", "update", subresource="status"),
        ),
    ],
)
def test_people_with_the_clusters_own_roles_reach_pools(
    install: Install, chart_cluster: ControlPlane, role: str, may: list[Access], may_not: list[Access]
) -> None:
    user = f"jane-{role}"
    chart_cluster.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "--namespace=shop")
    install({})
    names = chart_cluster.kubectl(
        "get", "clusterrole", "-o", "name", f"-lrbac.authorization.k8s.io/aggregate-to-{role}=true"
    )
    assert f"clusterrole.rbac.authorization.k8s.io/{SYSTEM}:{RELEASE}:{role}" in names.split()
    wait_until(lambda: granted(chart_cluster, user, may) == may, f"role {role} reaches pools", seconds=30)
    assert granted(chart_cluster, user, may_not) == []
