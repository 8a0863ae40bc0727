"""What `kubectl celery doctor` makes of what it was told: one finding for each thing, with its cure; pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from celeriac.api.names import (
    GROUP,
    KIND,
    NAMESPACE_SELECTOR_ANNOTATION,
    NAMESPACES_ANNOTATION,
    OPERATOR_ANNOTATION,
    PLURAL,
    SELECTOR_ANNOTATION,
    VERSION,
)
from celeriac.api.words import first_of
from celeriac.cli.words import ABNORMAL, NO_ROOM, UNDER_WAY, WANTED, ago, as_read
from celeriac.pool.told_status import told_status

Body = Mapping[str, Any]

COUNTED: Final = (
    ("BrokerReachable", "True", "brokers: {good} of {all} pools can be read"),
    ("BrokerDurable", "True", "eviction: the brokers of {good} of {all} pools keep their keys when memory is full"),
    ("AgentDegraded", "False", "agents: those of {good} of {all} pools can do all that they promise"),
)
"""Conditions of pools that are counted: the status in which all is well, and the sentence."""
AFTER: Final = ("BrokerUnreadable", "Creating", "InvalidSpec")
"""Reasons of what is not known for another one's sake, which is told."""

SILENT_SECONDS: Final = 120.0
"""A Lease is renewed every 2 s; so long without is no matter of two clocks."""
NAMED_RIGHTS: Final = 8
PLURAL_OF_CRDS: Final = "customresourcedefinitions"
OLDEST_KUBERNETES: Final = (1, 29)
"""As the chart says (kubeVersion)."""
SKEW_SECONDS: Final = 5.0
"""Less is a slow answer, or a clock that is well enough kept."""


class Finding(NamedTuple):
    """One thing, and a mark: `ok`, `!` for what is wrong, `?` for what could not be asked."""

    mark: str
    message: str

    def __str__(self) -> str:
        return f"{self.mark:<2} {self.message}"


def of_the_crd(status: int, crd: Body, schema: Body, kind: str = KIND) -> Finding:
    """Whether the cluster's CRD of a kind is the one that this release brings, with this schema."""
    name = f"CRD {kind}"
    if status == 404:
        return Finding("!", f"{name}: this cluster does not know it; install the chart, or kubectl apply -f crds/")
    if status != 200:
        cure = f"whether it is that of this release may not be read (HTTP {status}): ask for get on {PLURAL_OF_CRDS}"
        return Finding("?", f"{name}: {VERSION} is served; {cure}")
    served = {each["name"]: each for each in crd["spec"]["versions"] if each["served"]}
    if VERSION not in served:
        return Finding("!", f"{name}: it does not serve {VERSION}, but {', '.join(served)}: kubectl apply -f crds/")
    established = (each for each in crd.get("status", {}).get("conditions", ()) if each["type"] == "Established")
    if not any(each["status"] == "True" for each in established):
        plural = crd.get("metadata", {}).get("name", f"{PLURAL}.{GROUP}")
        return Finding("!", f"{name}: it is not established; kubectl describe crd {plural} says why")
    if served[VERSION]["schema"]["openAPIV3Schema"] != schema:
        cure = "kubectl apply --server-side --force-conflicts -f crds/ of the operator's release (Helm upgrades no CRD)"
        return Finding(
            "!", f"{name}: it is that of another release than this plugin; where the operator is newer: {cure}"
        )
    return Finding("ok", f"{name}: {VERSION}, as this release knows it")


def of_the_cluster(status: int, version: Body) -> Finding:
    """Whether the API server answers, and is new enough."""
    told = str(version.get("gitVersion", ""))
    if status != 200 or not told:
        return Finding("?", f"cluster: the API server answers, and does not tell its version (HTTP {status})")
    number = tuple(int(digits) for part in told.split(".")[:2] if (digits := "".join(filter(str.isdigit, part))))
    if number < OLDEST_KUBERNETES:
        oldest = ".".join(map(str, OLDEST_KUBERNETES))
        return Finding("!", f"cluster: it is Kubernetes {told}, and Celeriac needs {oldest} or newer: upgrade it")
    return Finding("ok", f"cluster: the API server answers, Kubernetes {told}")


def of_the_clocks(own: datetime, server: datetime, leases: Sequence[Body]) -> Iterator[Finding]:
    """Whether this machine's clock, and that of each operator, is that of the API server; it tells whole seconds."""
    ahead = (own - server).total_seconds()
    if abs(ahead) > SKEW_SECONDS:
        cure = "times that are told here are off by that; set the clock of this machine (NTP)"
        yield Finding("!", f"clock: this machine is {off(ahead)} the API server: {cure}")
    for lease in leases:
        renewed = (lease.get("spec") or {}).get("renewTime")
        ahead = (datetime.fromisoformat(renewed) - server).total_seconds() if renewed else 0.0
        if ahead > SKEW_SECONDS:
            name = f"{lease['metadata']['namespace']}/{lease['metadata']['name']}"
            cure = "set the clocks of the nodes (NTP); the operator compares no clocks, people do"
            yield Finding("!", f"clock: the operator {name} is {off(ahead)} the API server: {cure}")
    if abs((own - server).total_seconds()) <= SKEW_SECONDS:
        yield Finding("ok", f"clock: this machine is within {SKEW_SECONDS:.0f} s of the API server")


def off(ahead: float) -> str:
    """How many seconds a clock is ahead of another, or behind."""
    return f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'}"


def of_own_rights(missing: Sequence[str]) -> Finding:
    """What whoever asks may not do in the namespace."""
    if not missing:
        return Finding("ok", "your rights: all that this plugin needs in this namespace")
    cure = "ask for the role edit there (the chart adds these to it with rbac.aggregate)"
    return Finding("?", f"your rights: you may not {first_of(missing, NAMED_RIGHTS)}: {cure}")


def of_the_lease(lease: Body, now: datetime, own_version: str) -> Iterator[Finding]:
    """Whether an operator looks; `now` by the API server's clock."""
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    namespace, holder, renewed = metadata["namespace"], spec.get("holderIdentity"), spec.get("renewTime")
    name = f"operator {namespace}/{metadata['name']}"
    cure = f"kubectl -n {namespace} get deployments,pods shows whether it runs, its log why it does not lead"
    if not holder:
        yield Finding("!", f"{name}: no operator has looked since it was stopped, {ago(renewed, now)}: {cure}")
        return
    if not is_live(lease, now):
        yield Finding("!", f"{name}: no operator has looked since {renewed} ({ago(renewed, now)}): {cure}")
        return
    annotations = metadata.get("annotations") or {}
    version = annotations.get(OPERATOR_ANNOTATION, "of a release that does not tell")
    places = annotations.get(NAMESPACES_ANNOTATION, "")
    where = {"": "", "*": ", serves the whole cluster"}.get(places, f", serves the namespaces {places}")
    if selector := annotations.get(NAMESPACE_SELECTOR_ANNOTATION):
        where = f", serves the namespaces with {selector}"
    if selector := annotations.get(SELECTOR_ANNOTATION):
        where += f", pools with {selector}"
    yield Finding("ok", f"{name}: {holder} leads, {version}, renewed its Lease {ago(renewed, now)}{where}")
    if version != own_version:
        yield Finding("?", f"{name}: this plugin is {own_version}, the operator is {version}: use one release of both")


def is_live(lease: Body, now: datetime) -> bool:
    """Whether somebody holds it, and has renewed it lately."""
    spec = lease.get("spec") or {}
    renewed = spec.get("renewTime")
    if not spec.get("holderIdentity") or not renewed:
        return False
    return (now - datetime.fromisoformat(renewed)).total_seconds() <= SILENT_SECONDS


def served(leases: Sequence[Body]) -> list[str] | None:
    """The namespaces that these operators serve; None for the whole cluster, or where one does not tell."""
    told = [(each["metadata"].get("annotations") or {}).get(NAMESPACES_ANNOTATION, "*") for each in leases]
    return None if "*" in told else sorted({name for each in told for name in each.split(",")})


def of_rights(user: str, missing: Sequence[str]) -> Finding:
    """Whether the operator may do what it must."""
    if not missing:
        return Finding("ok", f"rights: {user} has all that it needs")
    cure = "upgrade the chart with rbac.create, or grant what charts/celeriac/README.md lists"
    return Finding("!", f"rights: {user} may not {first_of(missing, NAMED_RIGHTS)}: {cure}")


def of_the_pools(pools: Sequence[Body], served_namespaces: list[str] | None, now: datetime) -> Iterator[Finding]:
    """What is wrong with pools, what holds for all of them, and how many are well."""
    found = [(pool, list(_of_a_pool(pool, served_namespaces, now))) for pool in pools]
    for _, findings in found:
        yield from findings
    for type_, holds, words in COUNTED:
        yield from _counted(pools, type_, holds, words)
    well = sum(not findings for _, findings in found)
    yield Finding("ok", f"pools: {well} of {len(found)} are as they should be")


def _counted(pools: Sequence[Body], type_: str, holds: str, words: str) -> Iterator[Finding]:
    """Of how many pools it holds; those of which it does not are told one by one, those that nobody knows of here."""
    conditions = (told_status(pool.get("status"))[0].get("conditions") or () for pool in pools)
    told = [each for listed in conditions for each in listed if each["type"] == type_ and each["reason"] not in AFTER]
    good, unknown = (sum(each["status"] == wanted for each in told) for wanted in (holds, "Unknown"))
    if not told:
        return
    mark = "ok" if good == len(told) else "?" if good + unknown == len(told) else "!"
    why = next((each["message"] for each in told if each["status"] == "Unknown"), "")
    more = f"; of {unknown} it is not known ({why})" if unknown else ""
    yield Finding(mark, f"{words.format(good=good, all=len(told))}{more}")


def _of_a_pool(pool: Body, served_namespaces: list[str] | None, now: datetime) -> Iterator[Finding]:
    metadata, status = pool["metadata"], told_status(pool.get("status"))[0]
    name = f"pool {metadata['namespace']}/{metadata['name']}"
    if "deletionTimestamp" in metadata:
        return
    if served_namespaces is not None and metadata["namespace"] not in served_namespaces:
        cure = "add it to watchNamespaces of the chart"
        yield Finding("!", f"{name}: no operator serves its namespace: {cure}")
        return
    if not status.get("conditions"):
        yield Finding("!", f"{name}: no operator has looked at it yet: see the operator above, and its log")
        return
    if status.get("observedGeneration") != metadata["generation"]:
        yield Finding("!", f"{name}: the operator has not seen the latest change of its spec: see its log")
    said = set()
    for condition in status["conditions"]:
        words = condition["reason"], condition["message"]
        if _is_wrong(condition) and words not in said:
            said.add(words)
            since = ago(condition["lastTransitionTime"], now)
            said_there = as_read(": ".join(words), now)
            yield Finding("!", f"{name}: {condition['type']} {condition['status']}, {said_there} ({since})")


def _is_wrong(condition: Body) -> bool:
    type_, status, reason = str(condition["type"]), str(condition["status"]), str(condition["reason"])
    if type_ == "ScalingLimited":
        return status == "True" and reason in NO_ROOM
    if type_ == "ScalingActive":
        return status == "False" and reason == "FailedUpdateScale"
    if type_ in ABNORMAL:
        return status == "True"
    return type_ in WANTED and status == "False" and reason not in UNDER_WAY
