"""The agent in a pool's pods: where it is found, what it is told, and that nothing of it is there without it."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from celeriac.pool.broker import broker_reference, parse_broker_reference
from celeriac.pool.model import Agent, InvalidPool, PodTemplate, WorkerOptions, WorkerPool
from celeriac.pool.parse import parse_pool
from celeriac.reconciling.agent_files import FOLDER, read_agent
from celeriac.resources import build_agent_config, build_deployment
from tests.unit.pool.bodies import Body, minimal, variants
from tests.unit.resources.pools import AGENT, POOLS, PREFORK, RESTRICTED_TEMPLATE, SOLO

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
ANOTHER = {"__init__.py": "import kombu\n"}


def template(pool: WorkerPool, agent: Mapping[str, str] | None = AGENT) -> dict[str, Any]:
    found: dict[str, Any] = build_deployment(pool, agent=agent)["spec"]["template"]
    return found


def worker(pool: WorkerPool) -> dict[str, Any]:
    [container] = template(pool)["spec"]["containers"]
    return dict(container)


def arguments(*extra_args: str) -> list[str]:
    """The arguments after the log level."""
    found = worker(replace(SOLO, worker=WorkerOptions(extra_args=extra_args)))["args"]
    return list(found[found.index("-l") + 2 :])


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_with_the_agent_disabled_has_the_pods_of_plain_celery(name: str) -> None:
    plain = build_deployment(POOLS[name])
    assert build_deployment(replace(POOLS[name], agent=Agent.DISABLED), agent=AGENT) == plain
    assert build_deployment(POOLS[name], agent=AGENT) != plain


@pytest.mark.parametrize("name", POOLS)
def test_the_pods_mount_the_very_config_map_that_is_built(name: str) -> None:
    config = build_agent_config(POOLS[name].key.namespace, AGENT)
    volumes = template(POOLS[name])["spec"]["volumes"]
    names = [volume["configMap"]["name"] for volume in volumes if volume["name"] == "celeriac-agent"]
    assert names == [config["metadata"]["name"]]
    assert config["data"] == AGENT


def test_another_agent_is_a_rollout_and_leaves_the_old_config_map_alone() -> None:
    first, second = (build_agent_config("shop", source)["metadata"]["name"] for source in (AGENT, ANOTHER))
    assert first != second
    assert template(SOLO) != template(SOLO, ANOTHER)
    assert build_agent_config("shop", AGENT)["immutable"] is True


def test_all_pools_of_a_namespace_share_one_config_map_that_a_label_tells_from_others() -> None:
    configs = [build_agent_config(pool.key.namespace, AGENT) for pool in POOLS.values()]
    assert all(config == configs[0] for config in configs)
    metadata = configs[0]["metadata"]
    assert metadata["name"] == f"celeriac-agent-{metadata['labels']['celeriac.dev/agent']}"
    assert "ownerReferences" not in metadata


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["-I", "celeriac_agent"]),
        (["-I", "a,b"], ["-I", "celeriac_agent,a,b"]),
        (["-Ia,b", "-O", "fair"], ["-I", "celeriac_agent,a,b", "-O", "fair"]),
        (["-O", "fair", "--include", "a"], ["-I", "celeriac_agent,a", "-O", "fair"]),
        (["--include=a", "--without-mingle"], ["-I", "celeriac_agent,a", "--without-mingle"]),
        (["-I", "a", "-I", "b"], ["-I", "celeriac_agent,b"]),
        (["--disable-prefetch", "-I"], ["-I", "celeriac_agent", "--disable-prefetch", "-I"]),
    ],
    ids=["none", "short", "attached", "long", "with =", "the last one counts for Celery", "without its value"],
)
def test_the_users_modules_are_imported_beside_the_agent(given: list[str], expected: list[str]) -> None:
    assert arguments(*given) == expected


def test_the_agent_knows_its_pod_and_its_pool() -> None:
    variables = {each["name"]: each for each in worker(replace(SOLO, max_attempts=9))["env"]}
    assert variables["CELERIAC_POD_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert variables["CELERIAC_POD_UID"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    names = (
        "CELERIAC_NAMESPACE",
        "CELERIAC_POOL",
        "CELERIAC_POOL_UID",
        "CELERIAC_AGENT_LEVEL",
        "CELERIAC_MAX_ATTEMPTS",
    )
    assert [variables[name]["value"] for name in names] == ["shop", "ml", SOLO.uid, "drain", "9"]


@pytest.mark.parametrize("level", [Agent.REPORT, Agent.INFLIGHT, Agent.DRAIN])
def test_the_agent_is_told_how_much_it_is_to_do(level: Agent) -> None:
    variables = {each["name"]: each.get("value") for each in worker(replace(SOLO, agent=level))["env"]}
    assert variables["CELERIAC_AGENT_LEVEL"] == level.value


@pytest.mark.parametrize(("wanted", "value"), [(None, None), (True, "1"), (False, "0")])
def test_the_agent_is_told_what_becomes_of_the_task_of_a_lost_child(wanted: bool | None, value: str | None) -> None:
    container = worker(replace(SOLO, worker=WorkerOptions(reject_on_worker_lost=wanted)))
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables.get("CELERIAC_REJECT_ON_WORKER_LOST") == value


@pytest.mark.parametrize(("multiplier", "off"), [(None, True), (1, False), (4, False)])
def test_messages_wait_in_the_queue_unless_the_user_asks_for_prefetch(multiplier: int | None, off: bool) -> None:
    container = worker(replace(SOLO, worker=WorkerOptions(prefetch_multiplier=multiplier)))
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables.get("CELERIAC_DISABLE_PREFETCH") == ("1" if off else None)


def test_the_images_own_modules_win_over_the_agents_folder() -> None:
    bootstrap = worker(SOLO)["command"][-1]
    assert bootstrap.index('sys.path.append("")') < bootstrap.index('sys.path.append("/celeriac")')
    assert bootstrap.index('sys.path.append("/celeriac")') < bootstrap.index("from celery")
    assert "PYTHONPATH" not in {each["name"] for each in worker(SOLO)["env"]}


def test_native_sidecars_start_before_the_worker_and_outlive_its_drain() -> None:
    """The kubelet ends init containers with restartPolicy Always after the last ordinary container has ended."""
    spec = template(RESTRICTED_TEMPLATE)["spec"]
    assert [each["name"] for each in spec["containers"]] == ["worker"]
    policies = {each["name"]: each.get("restartPolicy") for each in spec["initContainers"]}
    assert policies == {"fetch": None, "proxy": "Always", "logs": "Always"}
    assert next(iter(policies)) == "fetch", "a sidecar comes after the init containers that prepare the pod"


def test_the_users_annotations_stay_beside_the_brokers() -> None:
    pool = replace(SOLO, template=PodTemplate(annotations={"prometheus.io/scrape": "false"}))
    assert template(pool)["metadata"]["annotations"] == {
        "prometheus.io/scrape": "false",
        "celeriac.dev/broker": broker_reference(pool.broker),
    }


@pytest.mark.parametrize("body", [minimal(), *variants()], ids=["minimal", "full", "custom", "sentinel"])
def test_a_pod_tells_where_its_broker_is_even_after_its_pool_is_gone(body: Body) -> None:
    broker = parse_pool(body).broker
    assert parse_broker_reference(broker_reference(broker)) == broker


def test_what_a_pod_tells_of_its_broker_names_secrets_and_holds_none() -> None:
    assert json.loads(broker_reference(PREFORK.broker))["urlFrom"] == {"secretKeyRef": {"name": "broker", "key": "url"}}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"url":"redis://a","keyPrefix":7}'])
def test_an_annotation_that_somebody_else_wrote_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidPool, match=r"celeriac\.dev/broker"):
        parse_broker_reference(text)


def test_the_operator_carries_the_agent_wherever_it_is_installed() -> None:
    files = {file.name: file.read_text() for file in (ROOT / "worker-image" / FOLDER).glob("*.py")}
    assert read_agent() == files
    assert {"__init__.py", "agent.py"} <= set(files)
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    assert hatch["build"]["targets"]["wheel"]["force-include"][f"worker-image/{FOLDER}"] == f"celeriac/{FOLDER}"
    assert f"COPY worker-image/{FOLDER} celeriac/{FOLDER}\n" in (ROOT / "operator" / "Dockerfile").read_text()
    assert f"!worker-image/{FOLDER}" in (ROOT / ".dockerignore").read_text().splitlines()
