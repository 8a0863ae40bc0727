"""The one-node cluster itself: pods that find each other, clusters beside each other, nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.process import run, wait_until
from tests.cluster.sandbox import CGROUPS, CHECKOUT, Slot

pytestmark = [pytest.mark.e2e, pytest.mark.own_node]

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: redis, namespace: shop, labels: {app: redis}}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  terminationGracePeriodSeconds: 1
  containers:
    - name: redis
      image: redis:7
      args: [redis-server, --save, ""]
      resources: {limits: {memory: 128Mi}}
      readinessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1}
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: redis, namespace: shop}
spec: {selector: {app: redis}, ports: [{port: 6379}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: client, image: "redis:7", command: [sh, -c, "echo hello from the client; exec sleep 3600"]}]
"""


def open_shop(cluster: Cluster, value: str) -> None:
    """A Redis that holds ``value``, and a client pod."""
    cluster.provide(images.REDIS)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--namespace=default", "--timeout=60s")
    cluster.kubectl("create", "--filename=-", stdin=SHOP)
    cluster.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--namespace=shop", "--timeout=60s")
    wait_until(lambda: service_answers(cluster), "a Service that kube-proxy has programmed", seconds=20)
    ask(cluster, "set", "shop", value)


def service_answers(cluster: Cluster) -> bool:
    try:
        return ask(cluster, "ping") == "PONG"
    except ClusterError:
        return False


def ask(cluster: Cluster, *command: str) -> str:
    """Talks to Redis from the client pod, by the name of the Service."""
    client = ("exec", "client", "--namespace=shop", "--", "redis-cli", "-h", "redis.shop.svc.cluster.local")
    return cluster.kubectl(*client, *command).strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(f"first-{os.getpid()}") as running:
        open_shop(running, "first")
        yield running


def test_a_pod_finds_another_by_the_name_of_its_service(cluster: Cluster) -> None:
    assert ask(cluster, "get", "shop") == "first"


def test_a_pod_reaches_the_api_by_its_name(cluster: Cluster) -> None:
    answer = cluster.kubectl(
        *("exec", "client", "--namespace=shop", "--"), "getent", "hosts", "kubernetes.default.svc.cluster.local"
    )
    assert answer.split()[0] == str(next(cluster.slot.services.hosts()))


def test_an_unknown_name_is_answered_at_once_and_not_looked_up_outside(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="code 2"):
        cluster.kubectl("exec", "client", "--namespace=shop", "--", "timeout", "3", "getent", "hosts", "no.example")


def test_this_machine_reaches_pods_directly_for_their_metrics(cluster: Cluster) -> None:
    address = cluster.kubectl("get", "pod", "redis", "--namespace=shop", "--output=jsonpath={.status.podIP}")
    assert run(["redis-cli", "-h", address, "get", "shop"]).strip() == "first"


def test_logs_and_exec_reach_a_pod(cluster: Cluster) -> None:
    assert cluster.kubectl("logs", "client", "--namespace=shop") == "hello from the client\n"
    assert cluster.kubectl("exec", "redis", "--namespace=shop", "--", "id", "-u") == "10001\n"


def test_pod_security_and_quota_are_enforced(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "strict")
    cluster.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        cluster.kubectl("run", "root", "--namespace=strict", "--image=redis:7")
    cluster.kubectl("create", "namespace", "narrow")
    cluster.kubectl("create", "quota", "none", "--namespace=narrow", "--hard=pods=0")

    def exceeds_quota() -> bool:
        """What the API server says of one more Pod; it hears of a new quota by a watch."""
        try:
            cluster.kubectl("run", "one", "--namespace=narrow", "--image=redis:7", "--dry-run=server")
        except ClusterError as error:
            return "exceeded quota" in str(error)
        return False

    wait_until(exceeds_quota, "a quota that is enforced", seconds=10)


def test_the_audit_log_names_who_wrote_what(cluster: Cluster) -> None:
    cluster.kubectl("create", "configmap", "seen", "--from-literal=key=value")
    events = [event for event in cluster.control_plane.audit_events() if event["verb"] == "create"]
    mine = [event for event in events if event["objectRef"].get("name") == "seen"]
    assert [(event["user"]["username"], event["responseStatus"]["code"]) for event in mine] == [("admin", 201)]


@pytest.mark.full
def test_two_clusters_run_beside_each_other_without_meeting(cluster: Cluster) -> None:
    with Cluster(f"second-{os.getpid()}") as second:
        open_shop(second, "second")
        assert second.slot != cluster.slot
        assert ask(second, "get", "shop") == "second"
        assert ask(cluster, "get", "shop") == "first"
        slot = second.slot
    assert traces(second, slot) == []
    assert ask(cluster, "get", "shop") == "first"


@pytest.mark.full
def test_nothing_is_left_behind_when_the_owner_is_killed(tmp_path: Path) -> None:
    orphan = Cluster(f"orphan-{os.getpid()}")
    settings = kernel_settings()
    owner = f"""
import signal
from tests.cluster import images
from tests.cluster.cluster import Cluster
cluster = Cluster({orphan.name!r})
cluster.up()
cluster.provide(images.REDIS)
cluster.kubectl("create", "--filename=-", stdin={SHOP!r})
cluster.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--namespace=shop", "--timeout=60s")
print("ready", flush=True)
signal.pause()
"""
    log = tmp_path / "owner.log"
    with log.open("w") as errors:
        process = subprocess.Popen([sys.executable, "-c", owner], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"ready\n", log.read_text()
        slot = orphan.slot
        assert traces(orphan, slot), "the check must see a running cluster"
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not orphan.directory.exists(), "the end of an orphaned cluster", seconds=60)
    wait_until(lambda: not command_lines(orphan), "the end of its guard", seconds=10)
    assert traces(orphan, slot) == []
    assert kernel_settings() == settings


def traces(cluster: Cluster, slot: Slot) -> list[str]:
    """Whatever a cluster could leave on the machine: mounts, control groups, network, rules, processes, files."""
    mark = str(cluster.directory).replace(" ", r"\040")  # as proc_pid_mounts(5) has it
    found = [line for line in Path("/proc/self/mounts").read_text().splitlines() if mark in line]
    found += [str(path) for path in CGROUPS.glob(f"**/celeriac-{cluster.name}*")]
    network = run(["ip", "-oneline", "address"]) + run(["ip", "route"]) + run(["nft", "list", "ruleset"])
    found += [line for line in network.splitlines() if slot.interface in line.split() or str(slot.pods) in line]
    found += command_lines(cluster)
    return found + [str(path) for path in (cluster.directory, Path("/var/lib/kubelet/pods")) if path.exists()]


def command_lines(cluster: Cluster) -> list[str]:
    """Of the processes that know the cluster's folder."""
    lines = (command_line(file) for file in Path("/proc").glob("[0-9]*/cmdline"))
    return [line for line in lines if str(cluster.directory) in line]


def command_line(file: Path) -> str:
    try:
        return file.read_bytes().replace(b"\0", b" ").decode()
    except OSError:  # it ended meanwhile
        return ""


def kernel_settings() -> dict[str, str]:
    """What a kubelet and a kube-proxy like to set for the whole machine."""
    names = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
    return {name: Path("/proc/sys", name).read_text() for name in names}
