"""`celeriac render` and `celeriac lint` on files, as a person types them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from celeriac.cli.main import main

pytestmark = pytest.mark.unit


def a_pool(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "celeriac.dev/v1alpha1",
        "kind": "CeleryWorkerPool",
        "metadata": {"name": spec.pop("name", "ml"), "namespace": "shop"},
        "spec": {"image": "shop:1", "app": "shop:app", "broker": {"url": "redis://redis/0"}, **spec},
    }


def run(command: str, *bodies: Any, tmp_path: Path, options: tuple[str, ...] = ()) -> Result:
    file = tmp_path / "pools.yaml"
    file.write_text(yaml.safe_dump_all(bodies))
    return CliRunner().invoke(main, [command, "-f", str(file), *options])


def test_render_prints_the_deployment_of_each_pool_and_passes_over_what_is_beside_them(tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "broker"}}
    result = run("render", a_pool(name="ml", pool="solo"), secret, a_pool(name="batch"), tmp_path=tmp_path)
    assert result.exit_code == 0, result.output
    ml, batch = yaml.safe_load_all(result.output)
    assert [(ml["kind"], ml["metadata"]["name"]), (batch["kind"], batch["metadata"]["name"])] == [
        ("Deployment", "ml"),
        ("Deployment", "batch"),
    ]
    assert "ownerReferences" not in ml["metadata"], "a pool in a file has no uid to refer to"


def test_render_reads_what_kubectl_get_prints(tmp_path: Path) -> None:
    pool = a_pool()
    pool["metadata"]["uid"] = "9f4f0a0e"
    result = run("render", {"apiVersion": "v1", "kind": "List", "items": [pool]}, tmp_path=tmp_path)
    deployment = yaml.safe_load(result.output)
    assert deployment["metadata"]["ownerReferences"][0]["uid"] == "9f4f0a0e"


def test_render_shows_the_bootstrap_as_lines_that_can_be_read(tmp_path: Path) -> None:
    assert "          import os, sys\n" in run("render", a_pool(), tmp_path=tmp_path).output


def test_render_names_the_field_that_is_wrong(tmp_path: Path) -> None:
    result = run("render", a_pool(pool="solo", concurrency=4), tmp_path=tmp_path)
    assert result.exit_code == 1
    assert "pools.yaml: ml: spec.concurrency: must be 1 or absent with pool: solo" in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Deployment\n", "no CeleryWorkerPool in it"),
        ("kind: CeleryWorkerPool\napiVersion: celeriac.dev/v9\n", "apiVersion is celeriac.dev/v9"),
        ("- a list\n", "is no Kubernetes manifest"),
        ("a: [\n", "is no YAML"),
    ],
)
def test_a_file_that_holds_no_pool_is_told_what_it_lacks(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    for command in ("render", "lint"):
        result = CliRunner().invoke(main, [command, "-f", str(file)])
        assert (result.exit_code, message in result.output) == (1, True), result.output


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["lint", "-f", str(tmp_path / "none.yaml")])
    assert result.exit_code == 1
    assert "none.yaml: error: cannot be read" in result.output


def test_lint_is_content_with_a_plain_pool(tmp_path: Path) -> None:
    result = run("lint", a_pool(), tmp_path=tmp_path, options=("--strict",))
    assert (result.exit_code, result.output) == (0, "1 pool(s): 0 error(s), 0 warning(s)\n")


WARNINGS: dict[str, dict[str, Any]] = {
    "spec.drain.timeoutSeconds: 600 s are too few for a task of up to 600 s": {
        "worker": {"timeLimitSeconds": 600},
        "drain": {"timeoutSeconds": 600},
    },
    "a solo worker holds 4 messages and runs one": {"pool": "solo", "worker": {"prefetchMultiplier": 4}},
    "gevent workers never restore messages": {"pool": "gevent", "agent": "disabled"},
    "runs tasks that were revoked": {"worker": {"extraArgs": ["--without-mingle"]}},
    "pins the pool to 3 each time": {"replicas": 3},
}


@pytest.mark.parametrize("message", WARNINGS)
def test_lint_warns_of_what_surprises_and_fails_only_when_strict(tmp_path: Path, message: str) -> None:
    pool = a_pool(**WARNINGS[message])
    result = run("lint", pool, tmp_path=tmp_path)
    assert (result.exit_code, message in result.output) == (0, True), result.output
    assert "0 error(s), 1 warning(s)" in result.output
    assert run("lint", pool, tmp_path=tmp_path, options=("--strict",)).exit_code == 1


def test_lint_is_content_with_a_grace_of_40_seconds_beyond_the_time_limit(tmp_path: Path) -> None:
    pool = a_pool(worker={"timeLimitSeconds": 600}, drain={"timeoutSeconds": 640})
    assert "0 warning(s)" in run("lint", pool, tmp_path=tmp_path).output


def test_lint_is_content_with_gevent_where_the_operator_restores_what_a_dead_worker_held(tmp_path: Path) -> None:
    assert "0 warning(s)" in run("lint", a_pool(pool="gevent"), tmp_path=tmp_path).output


def test_lint_refuses_a_time_limit_that_celery_ignores(tmp_path: Path) -> None:
    result = run("lint", a_pool(pool="threads", worker={"timeLimitSeconds": 60}), tmp_path=tmp_path)
    assert result.exit_code == 1
    assert "error: spec.worker.timeLimitSeconds: works only with pool: prefork or gevent" in result.output


def test_lint_goes_on_after_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = run("lint", a_pool(replicas=1), tmp_path=tmp_path, options=("-f", str(tmp_path / "none.yaml")))
    assert result.exit_code == 1
    assert "1 pool(s): 1 error(s), 1 warning(s)" in result.output


def test_lint_sees_two_pools_on_one_queue_of_one_broker(tmp_path: Path) -> None:
    others = a_pool(name="other", queues=["a", "b"]), a_pool(name="elsewhere", broker={"url": "redis://b/0"})
    result = run("lint", a_pool(name="first", queues=["b"]), *others, tmp_path=tmp_path)
    assert "pools.yaml: other: warning: spec.queues: 'b' is also a queue of first" in result.output
    assert "0 error(s), 1 warning(s)" in result.output


def test_lint_goes_on_after_a_bad_pool(tmp_path: Path) -> None:
    result = run("lint", a_pool(name="bad", queues=["a b"]), a_pool(name="fair", replicas=1), tmp_path=tmp_path)
    assert result.exit_code == 1
    assert "2 pool(s): 1 error(s), 1 warning(s)" in result.output
