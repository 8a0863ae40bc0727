"""What a platform allows to all pools: ceilings, a floor of Pod security, registries; each refusal is a sentence."""

from typing import Any

import pytest

from celeriac.pool.model import NotAllowed, PodSecurity, WorkerPool
from celeriac.pool.parse import parse_pool
from celeriac.pool.platform import OPEN, Platform, registry_problem
from celeriac.scaling.decide import decide
from celeriac.scaling.decision import History
from celeriac.scaling.workload import Demand
from tests.unit.pool.bodies import Body, minimal

pytestmark = pytest.mark.unit

SMALL = Platform(max_replicas=10)
SHOP = Platform(registries=("registry.example/shop", "localhost:5000"))
SECURE = Platform(pod_security=PodSecurity.RESTRICTED)


def within(platform: Platform, **spec: Any) -> WorkerPool:
    body: Body = minimal(**spec)
    return platform.within(parse_pool(body), body)


def refusal(platform: Platform, **spec: Any) -> str:
    with pytest.raises(NotAllowed) as caught:
        within(platform, **spec)
    return str(caught.value)


def test_without_limits_a_pool_is_what_it_asks_for() -> None:
    body = minimal(scaling={"maxReplicas": 9000}, image="anything")
    assert OPEN.within(parse_pool(body), body) == parse_pool(body)


def test_a_pool_that_says_nothing_gets_the_ceiling_and_its_decisions_say_whose_it_is() -> None:
    policy = within(SMALL).policy
    assert policy.max_replicas == 10
    demand = Demand(waiting=1000, running=0, current_replicas=10)
    assert "limited to 10 by the platform" in decide(policy, demand, History(), 0.0).message
    assert within(SMALL, scaling={"maxReplicas": 7}).policy.max_replicas == 7
    assert within(Platform(max_replicas=50)).policy.max_replicas == 20, "a ceiling raises nothing"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"scaling": {"maxReplicas": 11}}, "spec.scaling.maxReplicas"),
        ({"scaling": {"minReplicas": 12}}, "spec.scaling.minReplicas"),
        ({"replicas": 11}, "spec.replicas"),
        ({"scaling": {"fallback": {"replicas": 15}}}, "spec.scaling.fallback.replicas"),
    ],
)
def test_more_than_the_ceiling_is_refused_by_its_field(spec: Body, path: str) -> None:
    assert refusal(SMALL, **spec) == f"{path}: must not be above 10, the most that this platform allows: lower it"


def test_every_pool_satisfies_the_floor_of_pod_security() -> None:
    assert within(SECURE).pod_security is PodSecurity.RESTRICTED
    assert within(SECURE, podSecurity="Restricted").pod_security is PodSecurity.RESTRICTED
    root = {"template": {"spec": {"containerSecurityContext": {"runAsUser": 0}}}}
    assert within(OPEN, **root).pod_security is PodSecurity.BASELINE
    assert refusal(SECURE, **root) == (
        "spec.template.spec.containerSecurityContext.runAsUser: must not be 0 under podSecurity: Restricted:"
        " give another number, such as 1000 (this platform runs every pool so)"
    )


@pytest.mark.parametrize(
    "image",
    [
        "registry.example/shop/app:1.4",
        "registry.example/shop/team/app@sha256:" + "0" * 64,
        "registry.example/shop:1",
        "localhost:5000/app",
    ],
)
def test_images_of_the_registries_run(image: str) -> None:
    assert within(SHOP, image=image).image == image


@pytest.mark.parametrize(
    "image",
    ["registry.example/shopping/app", "registry.example/app", "registry.example.evil/shop/app", "redis:7", "shop/app"],
)
def test_images_of_other_registries_are_refused_wherever_they_stand(image: str) -> None:
    why = "is not of a registry that this platform allows: use one of registry.example/shop or localhost:5000"
    ours = "registry.example/shop/app:1"
    helper = {"name": "helper", "image": image}
    assert refusal(SHOP, image=image) == f"spec.image: {image!r} {why}"
    for name in ("initContainers", "sidecars"):
        said = refusal(SHOP, image=ours, template={"spec": {name: [helper]}})
        assert said == f"spec.template.spec.{name}[0].image: {image!r} {why}"
    volumes = [{"name": "a", "emptyDir": {}}, {"name": "b", "image": {"reference": image}}]
    said = refusal(SHOP, image=ours, template={"spec": {"volumes": volumes}})
    assert said == f"spec.template.spec.volumes[1].image.reference: {image!r} {why}"


def test_a_short_name_is_completed_as_a_container_runtime_does() -> None:
    hub = Platform(registries=("docker.io/library",))
    assert within(hub, image="redis:7").image == "redis:7"
    assert "is not of a registry" in refusal(hub, image="shop/app:1")
    assert within(Platform(registries=("docker.io",)), image="shop/app").image == "shop/app"


@pytest.mark.parametrize("text", ["registry.example", "localhost:5000/a/b", "10.0.0.1:5000", "docker.io/library"])
def test_a_registry_has_a_host_and_perhaps_a_path(text: str) -> None:
    assert registry_problem(text) is None


@pytest.mark.parametrize("text", ["https://registry.example", "registry.example/", "registry.example/App", "a b", "*"])
def test_what_is_no_registry_is_said(text: str) -> None:
    assert "is no registry" in str(registry_problem(text))
