"""From the chart of an earlier commit to today's, back, forth again, away and back, with tasks under way throughout."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.cluster.images import Image
from tests.cluster.process import run
from tests.e2e.story import PATIENCE, Story, told_in
from tests.e2e.system import CHART, NAMESPACE, OPERATOR, RELEASE, ROOT, VALUES, WORKER, helm
from tests.integration.kube import DEPLOYMENTS

pytestmark = [pytest.mark.e2e, pytest.mark.own_node, pytest.mark.full]

BEFORE = "36cc8192eb58cece2727397b939df65eb65679cd"
"""The commit whose chart and operator are the earlier ones. In a shallow clone: git fetch --unshallow."""
PARTS = ("charts", "crds", "operator", "worker-image/agent", "pyproject.toml", "uv.lock", ".uv-requirements.txt")
SECONDS = 4.0
"""Of one task: some are under way whenever something is changed."""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier checkout, as far as images and chart need it."""
    folder = tmp_path_factory.mktemp("before")
    archive = folder / "parts.tar"
    run(["git", "archive", f"--output={archive}", BEFORE, *PARTS, ".dockerignore"], cwd=ROOT)
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as parts:
        parts.extractall(folder, filter="data")
    archive.unlink()
    return folder


@pytest.fixture
def cluster(before: Path) -> Iterator[Cluster]:
    """A cluster of its own: CRDs and policies are of a whole cluster, and the other stories have today's."""
    with Cluster(f"upgrade-{os.getpid()}") as running:
        for image in (images.REDIS, WORKER, OPERATOR, Image("celeriac:before", before / "operator/Dockerfile", before)):
            running.provide(image)
        yield running


class Shop:
    """A pool whose queue is never empty, and the release that runs it."""

    def __init__(self, story: Story, cluster: Cluster) -> None:
        self.story = story
        self.cluster = cluster

    def work(self) -> None:
        """Put more into the queue, and wait until some of it runs."""
        sent = len(self.story.tasks.starts("batch"))
        self.story.tasks.send("batch", 10, seconds=SECONDS)
        self.story.tasks.wait_until_started("batch", sent + 2, PATIENCE)

    def helm(self, *arguments: str, **values: object) -> None:
        """Run Helm, and wait for the operator."""
        helm(self.cluster, *arguments, **({"values": values} if values else {}))
        ready = (f"--namespace={NAMESPACE}", f"--timeout={PATIENCE:.0f}s")
        self.cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", *ready)

    def agent(self) -> str:
        """The ConfigMap that the pool's pods have their agent from: one of another release is another agent."""
        deployment = self.story.kube.get(DEPLOYMENTS, "batch")
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        return next(str(each["configMap"]["name"]) for each in volumes if "configMap" in each)

    def image(self) -> str:
        """The operator's image, as the cluster has it."""
        path = "--output=jsonpath={.spec.template.spec.containers[0].image}"
        return self.cluster.kubectl("get", f"--namespace={NAMESPACE}", f"deployment/{RELEASE}", path)

    def rolled_out(self) -> None:
        """Wait until every worker is one of the newest template, and the old ones have ended their tasks."""
        self.story.kubectl("rollout", "status", "deployment/batch", f"--timeout={PATIENCE:.0f}s")
        self.story.kubectl("wait", "--for=condition=Reconciling=False", "cwp/batch", f"--timeout={PATIENCE:.0f}s")

    def is_unharmed(self) -> None:
        """No task failed, ran twice or was lost so far; what waits or runs is not counted."""
        account = self.story.tasks.accounts()["batch"]
        assert (account.failed, account.doubled, account.unsent) == ((), (), ())


def test_upgrade_rollback_and_uninstall_cost_no_task(cluster: Cluster, before: Path) -> None:
    values = {**VALUES, "crds": {"keep": True}}
    with told_in(cluster) as story:
        shop = Shop(story, cluster)
        old = {**values, "image": {"repository": "celeriac", "tag": "before"}}
        shop.helm("install", RELEASE, str(before / "charts" / "celeriac"), "--create-namespace", **old)
        story.pool("batch", ["batch"], pool="prefork", concurrency=2, scaling={"maxReplicas": 3})
        shop.work()
        first = shop.agent()

        shop.helm("upgrade", RELEASE, str(CHART), "--reset-then-reuse-values", "--set=image.tag=dev")
        assert shop.image() == "celeriac:dev"
        shop.work()
        shop.rolled_out()
        today = shop.agent()
        shop.is_unharmed()

        shop.helm("rollback", RELEASE, "1")
        assert shop.image() == "celeriac:before"
        shop.work()
        shop.rolled_out()
        assert shop.agent() == first
        shop.is_unharmed()

        shop.helm("upgrade", RELEASE, str(CHART), "--reset-then-reuse-values", "--set=image.tag=dev")
        shop.work()
        shop.rolled_out()
        assert shop.agent() == today

        shop.work()
        helm(cluster, "uninstall", RELEASE, "--wait")
        story.tasks.send("batch", 4, seconds=SECONDS)
        story.tasks.wait_until_done("batch", seconds=PATIENCE)
        assert json.loads(story.kubectl("get", "cwp/batch", "--output=json"))["spec"]["queues"] == ["batch"]
        assert story.tasks.problems() == [], "pools, workers and what they hold outlive the operator"

        shop.helm("install", RELEASE, str(CHART), **values)
        story.tasks.send("batch", 4, seconds=SECONDS)
        story.tasks.wait_until_done("batch", seconds=PATIENCE)
        story.wait_for_zero("batch")
        assert story.tasks.problems() == []
        assert story.tasks.waiting("batch") == story.tasks.held("batch") == 0
        helm(cluster, "uninstall", RELEASE, "--wait")
