"""Asks a cluster what can be wrong with Celeriac in it: the CRD, the operator, its rights and policies, the pools."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final

from celeriac import __version__
from celeriac.api.names import (
    GROUP,
    LEASE_NAME,
    NAMESPACE_SELECTOR_ANNOTATION,
    NAMESPACES_ANNOTATION,
    OPERATOR_ANNOTATION,
    PLURAL,
    REQUEST_KIND,
    REQUESTS_PLURAL,
    VERSION,
)
from celeriac.cli.checkup import Checkup, one_of_each_broker, unreadable
from celeriac.cli.checkup_findings import of_the_lists, of_the_operators
from celeriac.cli.findings import (
    Finding,
    is_live,
    of_own_rights,
    of_rights,
    of_the_clocks,
    of_the_cluster,
    of_the_crd,
    of_the_lease,
    of_the_pools,
    served,
)
from celeriac.cli.policies import of_policies
from celeriac.cli.pools_api import Answer, Pools
from celeriac.cli.rights import Right, account, asking, needed
from celeriac.cli.schema import pool_schema, request_schema

CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LEASES: Final = "/apis/coordination.k8s.io/v1"
POLICIES: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
OWN_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
USUAL_NAMESPACE: Final = "celeriac"
"""Where the installation guide puts the operator."""


def examine(
    pools: Pools, operator_namespace: str | None, *, all_namespaces: bool, selector: str = ""
) -> Iterator[Finding]:
    """All findings, in the order in which things must be mended."""
    version = pools.ask("/version")
    yield of_the_cluster(version.status, version.body)
    crd = _crd(pools, PLURAL)
    asked_at = datetime.now(UTC)
    yield of_the_crd(crd.status, crd.body, pool_schema())
    if crd.status == 404:
        return
    requests = _crd(pools, REQUESTS_PLURAL)
    yield of_the_crd(requests.status, requests.body, request_schema(), REQUEST_KIND)
    leases, answer = _leases(pools, operator_namespace)
    listed = cache(partial(pools.list, all_namespaces=all_namespaces, selector=selector))
    for lease in leases:
        yield from of_the_lease(lease, answer.moment, __version__)
        yield from _rights(pools, lease, listed)
    if not leases:
        yield _no_lease(answer, operator_namespace)
    yield from of_the_clocks(asked_at, crd.moment, leases)
    yield of_own_rights([str(right) for right in asking(pools.namespace) if not _has(pools, right)])
    found = listed()
    may_answer = any(is_live(lease, answer.moment) for lease in leases) or answer.status not in (200, 404)
    with Checkup(pools, one_of_each_broker(found) if may_answer else ()) as checkup:
        if not leases:
            yield from of_the_operators(checkup.first, asked_at - crd.moment, __version__)
        yield from of_the_pools(found, served(leases) if leases else None, answer.moment)
        yield from of_the_lists(checkup.first, checkup.again(), checkup.left, unreadable(found))


def _crd(pools: Pools, plural: str) -> Answer:
    """What is told of a CRD; everybody may know which kinds there are, so 404 also where it may not be read itself."""
    answer = pools.ask(f"{CRDS}/{plural}.{GROUP}")
    if answer.status in (200, 404):
        return answer
    served = pools.ask(f"/apis/{GROUP}/{VERSION}")
    kinds = {each["name"] for each in served.body.get("resources", ())}
    is_there = served.status not in (200, 404) or plural in kinds
    return answer if is_there else served._replace(status=404)


def _leases(pools: Pools, namespace: str | None) -> tuple[list[dict[str, Any]], Answer]:
    """The operators' Leases: of one namespace, else of the cluster; of the usual namespace where only that may be."""
    answer = pools.ask(f"{LEASES}/namespaces/{namespace}/leases" if namespace else f"{LEASES}/leases")
    if answer.status == 200:
        return [each for each in answer.body["items"] if _is_an_operators(each)], answer
    answer = pools.ask(f"{LEASES}/namespaces/{namespace or USUAL_NAMESPACE}/leases/{LEASE_NAME}")
    return [answer.body] if answer.status == 200 else [], answer


def _is_an_operators(lease: dict[str, Any]) -> bool:
    metadata = lease["metadata"]
    return metadata["name"] == LEASE_NAME or OPERATOR_ANNOTATION in (metadata.get("annotations") or {})


def _no_lease(answer: Answer, namespace: str | None) -> Finding:
    if answer.status in (200, 404):
        where = f" in namespace {namespace}" if namespace else ""
        return Finding("!", f"operator: none has ever run{where}: install the chart, see docs/install.md")
    cure = "name the operator's namespace with --operator-namespace, and ask for get on Leases there"
    return Finding("?", f"operator: its Lease may not be read (HTTP {answer.status}): {cure}")


def _rights(pools: Pools, lease: dict[str, Any], listed: Callable[[], list[dict[str, Any]]]) -> Iterator[Finding]:
    """What the holder's ServiceAccount may not do, and what keeps it from doing more."""
    namespace, holder = lease["metadata"]["namespace"], (lease.get("spec") or {}).get("holderIdentity")
    pod = pools.ask(f"/api/v1/namespaces/{namespace}/pods/{holder}") if holder else None
    if pod is None or pod.status != 200:
        yield Finding("?", "rights and policies: not asked, as the operator's Pod cannot be read")
        return
    user = account(namespace, pod.body["spec"].get("serviceAccountName", "default"))
    annotations = lease["metadata"].get("annotations") or {}
    places = annotations.get(NAMESPACES_ANNOTATION, "*")
    namespaces = [] if places == "*" else places.split(",")
    homes = set() if namespaces else {pool["metadata"]["namespace"] for pool in listed()}
    selects = bool(annotations.get(NAMESPACE_SELECTOR_ANNOTATION))
    rights = needed(namespaces, selects=selects, homes=sorted(homes))
    yield _missing(pools, user, rights)
    policies, bindings = pools.ask(POLICIES), pools.ask(BINDINGS)
    status = max(policies.status, bindings.status)
    yield of_policies(user, status, policies.body.get("items", ()), bindings.body.get("items", ()))


def _has(pools: Pools, right: Right) -> bool:
    """Whether whoever asks has the right; where nobody says so, it is not missed."""
    answer = pools.ask(OWN_REVIEWS, right.own_review())
    return answer.status not in (200, 201) or bool(answer.body["status"]["allowed"])


def _missing(pools: Pools, user: str, rights: Iterable[Right]) -> Finding:
    missing = []
    for right in rights:
        answer = pools.ask(REVIEWS, right.review(user))
        if answer.status not in (200, 201):
            return Finding("?", f"rights: not asked, you may not create subjectaccessreviews (HTTP {answer.status})")
        if not answer.body["status"]["allowed"]:
            missing.append(str(right))
    return of_rights(user, missing)
