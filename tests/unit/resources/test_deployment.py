"""What must hold for every Deployment that is built, beyond the golden files."""

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from celeriac.pool.model import BrokerSpec, PodTemplate, PoolType, WorkerPool
from celeriac.resources import build_deployment, selector
from celeriac.scaling.policy import Policy, Strategy
from tests.unit.resources.pools import BASELINE_TEMPLATE, POOLS, PREFORK, SOLO, TLS, TLS_BROKER

pytestmark = pytest.mark.unit


def pod(pool: WorkerPool, *, url_has_query: bool = False) -> dict[str, Any]:
    spec: dict[str, Any] = build_deployment(pool, url_has_query=url_has_query)["spec"]["template"]["spec"]
    return spec


def worker(pool: WorkerPool, *, url_has_query: bool = False) -> dict[str, Any]:
    [container] = pod(pool, url_has_query=url_has_query)["containers"]
    assert isinstance(container, dict)
    return container


def values(pool: WorkerPool, *, url_has_query: bool = False) -> dict[str, str]:
    variables = worker(pool, url_has_query=url_has_query)["env"]
    return {variable["name"]: variable["value"] for variable in variables if "value" in variable}


def parts(value: Any) -> Iterator[int]:
    """The identities of all dicts and lists in a manifest."""
    if isinstance(value, dict | list):
        yield id(value)
        for item in value.values() if isinstance(value, dict) else value:
            yield from parts(item)


@pytest.mark.parametrize("name", POOLS)
def test_replicas_are_never_applied_with_the_deployment(name: str) -> None:
    assert "replicas" not in build_deployment(POOLS[name])["spec"]


@pytest.mark.parametrize("name", POOLS)
def test_two_manifests_share_nothing_that_one_could_change_in_the_other(name: str) -> None:
    first, second = build_deployment(POOLS[name]), build_deployment(POOLS[name])
    assert first == second
    own = list(parts(first))
    assert len(own) == len(set(own)), "one part appears twice in a manifest"
    assert not set(own) & set(parts(second))


def test_a_template_of_immutable_values_becomes_plain_dicts_and_lists() -> None:
    template = PodTemplate(spec=MappingProxyType({"tolerations": (MappingProxyType({"operator": "Exists"}),)}))
    assert pod(replace(SOLO, template=template))["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize("name", POOLS)
def test_the_selector_finds_the_pods_whatever_labels_the_user_adds(name: str) -> None:
    deployment = build_deployment(POOLS[name])
    match = deployment["spec"]["selector"]["matchLabels"]
    assert selector(POOLS[name].key.name) == f"celeriac.dev/pool={POOLS[name].key.name}"
    assert match.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_a_new_image_rolls_out_without_taking_a_working_worker_away_first() -> None:
    rolling = {"maxSurge": "25%", "maxUnavailable": 0}
    assert build_deployment(SOLO)["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_the_owner_chooses_how_a_rollout_replaces_workers() -> None:
    def built(strategy: Strategy) -> object:
        return build_deployment(replace(SOLO, policy=replace(SOLO.policy, strategy=strategy)))["spec"]["strategy"]

    rolling = {"maxSurge": 0, "maxUnavailable": "50%"}
    assert built(Strategy(max_surge=0, max_unavailable="50%")) == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert built(Strategy(recreate=True)) == {"type": "Recreate"}


def test_a_worker_has_as_long_for_its_tasks_as_the_pool_allows() -> None:
    assert pod(replace(SOLO, drain_timeout_seconds=86_400))["terminationGracePeriodSeconds"] == 86_400


def test_no_pool_gets_a_token_for_kubernetes_or_variables_of_other_services() -> None:
    spec = pod(replace(SOLO, template=PodTemplate(spec={"automountServiceAccountToken": True})))
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)


def test_nothing_restarts_a_running_worker_from_outside() -> None:
    assert all("livenessProbe" not in worker(pool) for pool in POOLS.values())


def test_a_slow_model_has_an_hour_to_load_before_the_pod_is_restarted() -> None:
    probe = worker(SOLO)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 3600


def test_prefork_wins_over_another_pool_in_the_apps_configuration() -> None:
    arguments = worker(PREFORK)["args"]
    assert arguments[arguments.index("-P") + 1] == "processes"


def test_a_solo_worker_is_told_its_one_slot_lest_the_apps_concurrency_multiplies_its_prefetch() -> None:
    arguments = worker(SOLO)["args"]
    assert arguments[arguments.index("-c") + 1] == "1"


def test_a_custom_pool_is_named_in_the_environment() -> None:
    pool = replace(SOLO, pool_type=PoolType.CUSTOM, custom_pool="my.pool:TaskPool", policy=Policy(slots=3))
    assert values(pool)["CELERY_CUSTOM_WORKER_POOL"] == "my.pool:TaskPool"
    assert worker(pool)["args"][3:7] == ["-P", "custom", "-c", "3"]


def test_what_the_app_says_of_mingle_heartbeats_and_limits_stays_in_force() -> None:
    assert worker(SOLO)["args"] == [
        *("-A", "shop.ml:app", "worker", "-P", "solo", "-c", "1", "-Q", "ml_service", "--without-gossip", "-l", "INFO")
    ]


def test_the_users_variables_may_refer_to_the_brokers() -> None:
    names = [variable["name"] for variable in worker(BASELINE_TEMPLATE)["env"]]
    assert names.index("CELERY_BROKER_URL") < names.index("CELERY_RESULT_BACKEND")


def test_the_parameters_of_tls_follow_those_that_the_url_has() -> None:
    query = "ssl_cert_reqs=required&ssl_ca_certs=/etc/celeriac/broker-tls/ca.crt"
    assert values(TLS)["CELERY_BROKER_URL"].startswith(f"$(CELERIAC_BROKER_URL)?{query}")
    assert values(TLS, url_has_query=True)["CELERY_BROKER_URL"].startswith(f"$(CELERIAC_BROKER_URL)&{query}")


def test_a_client_certificate_alone_is_checked_against_the_images_authorities() -> None:
    assert TLS_BROKER.tls is not None
    broker = replace(TLS_BROKER, tls=replace(TLS_BROKER.tls, ca=None))
    assert "ssl_ca_certs" not in values(replace(TLS, broker=broker))["CELERY_BROKER_URL"]
    volume = next(volume for volume in pod(replace(TLS, broker=broker))["volumes"] if "projected" in volume)
    assert [source["secret"]["name"] for source in volume["projected"]["sources"]] == ["client", "client"]


def test_a_url_that_looks_like_a_reference_stays_as_it_is() -> None:
    assert (
        values(replace(SOLO, broker=BrokerSpec(url="redis://$(HOST)/0")))["CELERY_BROKER_URL"] == "redis://$$(HOST)/0"
    )
