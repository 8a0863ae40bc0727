"""The manifests in worker-image/samples and docs/samples are accepted; the former cover the demo's queues."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from celeriac.cli.main import main
from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import install_crds

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "worker-image" / "samples"
DOCUMENTED = ROOT / "docs" / "samples"

pytestmark = pytest.mark.integration


def pools() -> list[dict[str, Any]]:
    documents = [
        document for path in sorted(SAMPLES.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())
    ]
    return [document for document in documents if document["kind"] == "CeleryWorkerPool"]


def test_the_api_server_takes_every_sample_under_the_restricted_standard(
    control_plane: ControlPlane, namespace: str
) -> None:
    install_crds(control_plane)
    control_plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted")
    taken = control_plane.kubectl("apply", "-n", namespace, "-f", str(SAMPLES), "--warnings-as-errors")
    for pool in pools():
        assert f"celeryworkerpool.celeriac.dev/{pool['metadata']['name']} created" in taken
    assert "deployment.apps/redis created" in taken
    assert "secret/broker created" in taken


@pytest.mark.parametrize("file", sorted(DOCUMENTED.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_api_server_takes_each_documented_pool_and_what_is_made_of_it(
    control_plane: ControlPlane, namespace: str, file: Path
) -> None:
    install_crds(control_plane)
    strict = ("--dry-run=server", "--warnings-as-errors", "--validate=strict", f"-n{namespace}", "-f")
    count = len(list(yaml.safe_load_all(file.read_text())))
    assert control_plane.kubectl("apply", *strict, str(file)).count("created (server dry run)") == count
    rendered = CliRunner().invoke(main, ["render", "-f", str(file)])
    assert rendered.exit_code == 0, rendered.output
    made = control_plane.kubectl("apply", *strict[:-2], "-f", "-", stdin=rendered.output)
    assert made.count("deployment.apps/") == count


def test_the_sample_pools_cover_every_queue_of_the_demo_once() -> None:
    queues = [queue for pool in pools() for queue in pool["spec"]["queues"]]
    assert sorted(queues) == ["batch", "celery", "email_service", "ml_service"]
