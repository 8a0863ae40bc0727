"""What a platform allows to all pools of its cluster: flags of the operator, values of its chart.

What the schema supplies where a pool says nothing (maxReplicas 20, podSecurity Baseline) is no request: it gives way.
What a pool asks for beyond the limits is refused in a sentence, and its workers go on as they are.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from celeriac.pool.fields import Fields
from celeriac.pool.model import NotAllowed, PodSecurity, WorkerPool
from celeriac.pool.pod_security import insecure
from celeriac.pool.policy import DEFAULT_MAX_REPLICAS
from celeriac.scaling.policy import Policy

DEFAULT_REGISTRY: Final = "docker.io"
_TAG: Final = re.compile(r"(@.*|:[^/:]*)$")


@dataclass(frozen=True, slots=True)
class Platform:
    """The limits.

    max_replicas  the most that a pool may run; None: what each pool says
    pod_security  the least that all pools satisfy
    registries    where images may come from, each with or without a path: registry.example/shop. Empty: anywhere
    """

    max_replicas: int | None = None
    pod_security: PodSecurity = PodSecurity.BASELINE
    registries: tuple[str, ...] = ()

    def within(self, pool: WorkerPool, body: Mapping[str, Any]) -> WorkerPool:
        """The pool as it may run here. Raises NotAllowed where it may not; `body` is what it was parsed from."""
        for image, path in _images(pool):
            if self.registries and not any(_lies_in(registry, image) for registry in self.registries):
                where = " or ".join(self.registries)
                raise NotAllowed(path, f"{image!r} is not of a registry that this platform allows: use one of {where}")
        if self.pod_security is PodSecurity.RESTRICTED and pool.pod_security is not PodSecurity.RESTRICTED:
            for problem in insecure(Fields("spec", {**body["spec"], "podSecurity": self.pod_security.value})):
                raise NotAllowed(problem.field, f"{problem.message} (this platform runs every pool so)")
            pool = replace(pool, pod_security=self.pod_security)
        return replace(pool, policy=self._policy(pool.policy))

    def _policy(self, policy: Policy) -> Policy:
        most = self.max_replicas
        if most is None:
            return policy
        asked = {
            "spec.replicas": policy.pinned_replicas or 0,
            "spec.scaling.minReplicas": policy.min_replicas,
            "spec.scaling.maxReplicas": 0 if policy.max_replicas == DEFAULT_MAX_REPLICAS else policy.max_replicas,
            "spec.scaling.fallback.replicas": policy.fallback.replicas if policy.fallback else 0,
        }
        for path, replicas in asked.items():
            if replicas > most:
                raise NotAllowed(path, f"must not be above {most}, the most that this platform allows: lower it")
        if policy.max_replicas <= most:
            return policy
        return replace(policy, max_replicas=most, max_replicas_of="the platform")


OPEN: Final = Platform()


def registry_problem(text: str) -> str | None:
    """What is wrong with the name of a registry, if anything."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*", text):
        return None
    return "is no registry: give HOST[:PORT], with or without a path, such as registry.example/shop"


def _images(pool: WorkerPool) -> Iterator[tuple[str, str]]:
    """Each image that the pods pull, and where it stands."""
    yield pool.image, "spec.image"
    for name in ("initContainers", "sidecars"):
        for index, container in enumerate(pool.template.spec.get(name) or ()):
            yield container["image"], f"spec.template.spec.{name}[{index}].image"
    for index, volume in enumerate(pool.template.spec.get("volumes") or ()):
        source = volume.get("image")
        if isinstance(source, Mapping) and isinstance(source.get("reference"), str):
            yield source["reference"], f"spec.template.spec.volumes[{index}].image.reference"


def _lies_in(registry: str, image: str) -> bool:
    """Whether an image is of a registry, or below a path of one, as a container runtime completes its name."""
    host, _, path = _TAG.sub("", image).partition("/")
    if not path or not ("." in host or ":" in host or host == "localhost"):
        name = _TAG.sub("", image)
        host, path = DEFAULT_REGISTRY, name if "/" in name else f"library/{name}"
    return f"{host}/{path}/".startswith(f"{registry.rstrip('/')}/")
