"""`celeriac lint --platform`: what the operator would refuse by its platform's limits, told before."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from celeriac.cli.main import main
from celeriac.cli.platform_values import NO_LIMITS
from tests.unit.pool.bodies import Body, minimal

pytestmark = pytest.mark.unit

VALUES = {"platform": {"maxReplicas": 10, "podSecurity": "Baseline", "registries": ["registry.example/shop"]}}


def lint(folder: Path, values: object, **spec: object) -> Result:
    body: Body = minimal(**spec)
    for name, document in (("values", values), ("pool", body)):
        (folder / f"{name}.yaml").write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    files = ("--platform", str(folder / "values.yaml"), "-f", str(folder / "pool.yaml"))
    return CliRunner().invoke(main, ["lint", *files])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"image": "registry.example/shop/app:1"}, "0 error(s)"),
        (
            {"image": "docker.io/app:1"},
            "is not of a registry that this platform allows: use one of registry.example/shop",
        ),
        ({"image": "registry.example/shop/app:1", "scaling": {"maxReplicas": 11}}, "maxReplicas: must not be above 10"),
        ({"image": "registry.example/shop/app:1", "replicas": 11}, "spec.replicas: must not be above 10"),
        ({"image": "docker.io/app:1", "pool": "forkpre"}, "spec.pool"),
    ],
)
def test_a_pool_is_held_against_the_limits(tmp_path: Path, spec: Body, said: str) -> None:
    done = lint(tmp_path, VALUES, **spec)
    assert said in done.output
    assert done.exit_code == (0 if said == "0 error(s)" else 1)


def test_a_floor_of_pod_security_is_held_against_the_template(tmp_path: Path) -> None:
    root = {"spec": {"containerSecurityContext": {"runAsUser": 0}}}
    assert lint(tmp_path, {"platform": {"podSecurity": "Baseline"}}, template=root).exit_code == 0
    done = lint(tmp_path, {"platform": {"podSecurity": "Restricted"}}, template=root)
    assert (done.exit_code, "(this platform runs every pool so)" in done.output) == (1, True)


@pytest.mark.parametrize("values", [{}, {"replicas": 2}, {"platform": {}}, "null\n"])
def test_values_without_limits_are_told_of(tmp_path: Path, values: object) -> None:
    done = lint(tmp_path, values, scaling={"maxReplicas": 900})
    assert (done.exit_code, NO_LIMITS in done.stderr) == (0, True), done.output


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("{", "cannot be read"),
        ({"platform": ["maxReplicas"]}, "platform: must be an object"),
        ({"platform": {"maxReplicas": "ten"}}, "platform.maxReplicas: must be a number"),
        ({"platform": {"maxReplicas": True}}, "platform.maxReplicas: must be a number"),
        ({"platform": {"podSecurity": "Privileged"}}, "platform.podSecurity: must be one of Baseline, Restricted"),
        (
            {"platform": {"registries": "registry.example"}},
            "platform.registries: must be a list",
        ),
        (
            {"platform": {"registries": ["https://registry.example"]}},
            "platform.registries: 'https://registry.example' is no",
        ),
        ({"platform": {"maxreplicas": 10}}, "platform.maxreplicas: is no limit of a platform"),
    ],
)
def test_limits_that_the_chart_would_refuse_are_refused(tmp_path: Path, values: object, said: str) -> None:
    done = lint(tmp_path, values)
    assert done.exit_code == 1
    assert said in done.stderr
