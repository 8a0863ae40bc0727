"""`celeriac lint`: what the API server refuses is refused here, all of it at once, in words that help."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac.cli.documents import BadDocument, Document, read
from celeriac.cli.lint import errors, warnings
from celeriac.cli.schema import FILE, pool_schema
from celeriac.pool.misplaced import ELSEWHERE
from celeriac.pool.parse import parse_pool, problems
from tests.integration.bad_pools import BAD, PASSWORD
from tests.unit.pool.bodies import ODD, Body, minimal, nodes, replaced, variants

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]


def found(body: Body) -> list[str]:
    return list(errors(Document("pool.yaml", body)))


def pod(**fields: Any) -> Body:
    return minimal(template={"spec": fields})


@pytest.mark.parametrize(("spec", "refusal"), BAD, ids=[refusal for _, refusal in BAD])
def test_lint_refuses_what_the_api_server_refuses(spec: Body, refusal: str) -> None:
    messages = found(minimal(**spec))
    assert messages
    assert PASSWORD not in "".join(messages)


def test_no_rule_of_the_schema_is_without_a_bad_pool_that_lint_was_tried_on() -> None:
    rules = {rule["message"] for rule in every_rule(pool_schema()["properties"]["spec"])}
    assert len(rules) > 50
    assert {message for message in rules if not any(refusal in message for _, refusal in BAD)} == set()


def every_rule(schema: Any) -> Iterator[dict[str, str]]:
    """The CEL rules of a schema and of all schemas inside it."""
    if isinstance(schema, dict):
        yield from schema.get("x-kubernetes-validations", ())
        for inner in schema.values():
            yield from every_rule(inner)


@pytest.mark.parametrize("body", variants(), ids=["full", "custom", "sentinel"])
def test_no_value_anywhere_makes_lint_fail(body: Body) -> None:
    refused = sum(bool(found(replaced(body, path, odd))) for path, _ in nodes(body) if path for odd in ODD)
    assert refused > len(ODD) * 10


@pytest.mark.parametrize("body", [minimal(), *variants()], ids=["minimal", "full", "custom", "sentinel"])
def test_lint_has_nothing_against_a_good_pool(body: Body) -> None:
    assert found(body) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            minimal(que=["a"]),
            "spec.que: is no field that can be set here: did you mean queues? See kubectl explain cwp.spec",
        ),
        (minimal(scaling={"maxReplica": 3}), "spec.scaling.maxReplica: is no field.*did you mean maxReplicas?"),
        (minimal(worker={"prefetch": 1}), "spec.worker.prefetch: is no field.*did you mean prefetchMultiplier?"),
        (minimal(drain={"seconds": 1}), "spec.drain.seconds: is no field.*did you mean timeoutSeconds?"),
        (
            minimal(scaling={"behavior": {"scaleDown": {"stabilisationWindowSeconds": 1}}}),
            "did you mean stabilizationWindowSeconds.*cwp.spec.scaling.behavior.scaleDown",
        ),
        (
            minimal() | {"sepc": {}},
            "^sepc: is no field that can be set here: did you mean spec? See kubectl explain cwp$",
        ),
        (pod(hostPort=1), "spec.template.spec.hostPort: .*see kubectl explain cwp.spec.template.spec"),
        (pod(env=[{"name": "A", "val": "b"}]), "env[0].val: .*did you mean value? See .*cwp.spec.template.spec.env$"),
    ],
)
def test_a_misspelt_field_is_named_with_the_one_that_was_meant(body: Body, message: str) -> None:
    (only,) = found(body)
    pattern = re.escape(message).replace(r"\.\*", ".*").replace(r"\^", "^").replace(r"\$", "$")
    assert re.search(pattern, only), only


@pytest.mark.parametrize(
    ("body", "cure"),
    [
        (
            pod(containers=[]),
            "the worker's container is made by the operator: put others beside it into spec.template.spec.sidecars",
        ),
        (pod(restartPolicy="Never"), "drop it, it is always Always"),
        (pod(terminationGracePeriodSeconds=1), "set spec.drain.timeoutSeconds"),
        (pod(hostNetwork=True), "drop it, workers have no need of it"),
        (pod(livenessProbe={}), "drop it, a restart would lose the tasks"),
        (pod(image="app:1"), "set spec.image"),
        (pod(labels={}), "set spec.template.metadata.labels"),
        (minimal(env=[]), "set spec.template.spec.env"),
        (minimal(command=["x"]), "set spec.launcher"),
        (minimal(template={"env": []}), "set spec.template.spec.env"),
        (minimal(minReplicas=1), "set spec.scaling.minReplicas"),
        (minimal(minReplicaCount=1), "set spec.scaling.minReplicas"),
        (minimal(tls={}), "set spec.broker.tls"),
        (minimal(serviceAccount="x"), "set spec.template.spec.serviceAccountName"),
        (minimal() | {"image": "app:1"}, "set spec.image"),
    ],
)
def test_a_field_that_people_know_from_elsewhere_is_told_its_place(body: Body, cure: str) -> None:
    (only,) = found(body)
    assert f"is no field that can be set here: {cure}" in only


def test_each_place_that_is_told_is_one_that_there_is() -> None:
    """What ELSEWHERE names in spec. are fields of the CRD."""
    named = {path for cure in ELSEWHERE.values() for path in re.findall(r"spec\.[\w.]+\w", cure)}
    assert len(named) > 15
    lost = [path for path in named if not is_field(path.split("."))]
    assert lost == []


def is_field(path: list[str]) -> bool:
    schema: Any = pool_schema()
    for name in path:
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            return True
        schema = schema.get("properties", {}).get(name)
        if schema is None:
            return False
    return True


def test_no_field_is_called_misplaced_where_it_may_stand() -> None:
    template = set(pool_schema()["properties"]["spec"]["properties"]["template"]["properties"]["spec"]["properties"])
    assert template & set(ELSEWHERE) == set()


def test_unknown_fields_are_left_alone_where_the_api_server_keeps_them() -> None:
    sidecar = {"name": "proxy", "image": "proxy:1", "securityContext": {"runAsUser": 1}}
    assert found(pod(sidecars=[sidecar], securityContext={"fsGroup": 1}, resources={"limits": {"gpu": 1}})) == []


def test_a_memory_with_a_wrong_unit_is_shown_a_right_one() -> None:
    (only,) = found(pod(resources={"limits": {"memory": "1GB"}}))
    assert only.startswith("spec.template.spec.resources.limits[memory]: is not of the form that is needed")
    assert "256Mi" in only


@pytest.mark.parametrize("name", ["Bad_Name", "ml-", ".ml", "a..b", "x" * 64])
def test_a_name_that_kubernetes_refuses_is_refused(name: str) -> None:
    body = minimal()
    body["metadata"]["name"] = name
    (only,) = found(body)
    assert only.startswith("metadata.name: ")


def test_all_errors_of_a_pool_are_told_at_once() -> None:
    body = minimal(
        image="a b",
        que=["x"],
        queues=["a,b"],
        pool="solo",
        concurrency=4,
        scaling={"minReplicas": 3, "maxReplicas": 2, "target": {}},
        worker={"extraArgs": ["-A", "x", "-EB", "--pidfile=x"], "timeLimitSeconds": 5},
        template={
            "metadata": {"labels": {"celeriac.dev/pool": "x"}},
            "spec": {"env": [{"name": "CELERY_BROKER_URL"}, {"name": "A"}, {"name": "A"}]},
        },
    )
    assert sorted(message.split(": ")[0] for message in found(body)) == [
        "spec.concurrency",
        "spec.image",
        "spec.que",
        "spec.queues[0]",
        "spec.scaling.minReplicas",
        "spec.scaling.target",
        "spec.template.metadata.labels[celeriac.dev/pool]",
        "spec.template.spec.env[0].name",
        "spec.template.spec.env[2]",
        "spec.worker.extraArgs[0]",
        "spec.worker.extraArgs[2]",
        "spec.worker.extraArgs[3]",
        "spec.worker.timeLimitSeconds",
    ]


@pytest.mark.parametrize(("spec", "refusal"), BAD, ids=[refusal for _, refusal in BAD])
def test_the_parser_raises_the_first_of_the_problems_that_it_lists(spec: Body, refusal: str) -> None:
    body = minimal(**spec)
    listed = [str(problem) for problem in problems(body)]
    try:
        parse_pool(body)
        raised = None
    except ValueError as error:
        raised = str(error)
    assert (raised in listed) if raised else listed == []


def test_lint_goes_on_after_what_is_no_pool_and_after_a_pool_of_another_version(tmp_path: Path) -> None:
    file = tmp_path / "pools.yaml"
    misspelt = minimal() | {"kind": "CeleryWorkerpool"}
    old = minimal(que=1) | {"apiVersion": "celeriac.dev/v0"}
    file.write_text(yaml.safe_dump_all([["a list"], misspelt, {"kind": "List", "items": [7, old]}, minimal()]))
    first, second, third, fourth, fifth = read(str(file))
    assert isinstance(first, BadDocument)
    assert "is no Kubernetes manifest" in first.message
    assert isinstance(second, BadDocument)
    assert second.message == "kind is CeleryWorkerpool: celeriac.dev has CeleryWorkerPool only"
    assert isinstance(third, BadDocument)
    assert isinstance(fourth, Document)
    version, field = errors(fourth)
    assert version == "apiVersion is celeriac.dev/v0: write celeriac.dev/v1alpha1"
    assert field.startswith("spec.que: ")
    assert isinstance(fifth, Document)
    assert list(errors(fifth)) == []


def test_the_status_of_a_pool_out_of_a_cluster_is_not_looked_at() -> None:
    assert found(minimal() | {"status": {"from": "another version"}}) == []


def test_the_wheel_carries_the_schema_to_where_lint_looks_for_it() -> None:
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    assert hatch["build"]["targets"]["wheel"]["force-include"][FILE] == f"celeriac/{FILE}"
    assert (ROOT / FILE).is_file()
    assert pool_schema()["properties"]["spec"]["required"] == ["image", "app", "broker"]


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({}, "by spec.worker.rejectOnWorkerLost: true, or false"),
        ({"agent": "report"}, "by task_reject_on_worker_lost in the app: true, or false"),
        ({"worker": {"rejectOnWorkerLost": False}}, None),
        ({"concurrency": 1}, None),
        ({"pool": "threads"}, None),
    ],
)
def test_a_memory_limit_kills_children_with_their_tasks(spec: Body, where: str | None) -> None:
    limited = {"template": {"spec": {"resources": {"limits": {"memory": "1Gi"}}}}}
    told = list(warnings(parse_pool(minimal(**limited, **spec))))
    assert len(told) == (where is not None)
    assert where is None or where in told[0]
