"""Ends the processes of a worker as no API does: with SIGKILL, from the node."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from tests.cluster.target import Target

NAME = "executioner"
KILL = r"""
uid=$1; killed=0
for folder in /proc/[0-9]*; do
  grep -qE "pod($uid|$(echo $uid | tr - _))" $folder/cgroup 2>/dev/null || continue
  tr '\0' ' ' < $folder/cmdline 2>/dev/null | grep -q celery || continue
  kill -9 ${folder#/proc/} && killed=$((killed + 1))
done
echo $killed
"""


class Executioner:
    """A pod that sees all processes of its node."""

    def __init__(self, cluster: Target, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = f"--namespace={namespace}"

    def kill_worker(self, pod_uid: str) -> int:
        """SIGKILL for every Celery process of the Pod; returns how many there were."""
        arguments = ("exec", self._namespace, NAME, "--", "sh", "-c", KILL, "kill", pod_uid)
        return int(self._cluster.kubectl(*arguments))


@contextmanager
def executioner(cluster: Target, namespace: str) -> Iterator[Executioner]:
    """One in this namespace; it goes with it."""
    container = {
        "name": NAME,
        "image": "redis:7",
        "command": ["sleep", "infinity"],
        "securityContext": {"runAsUser": 0, "privileged": True},
    }
    spec = {"hostPID": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec}
    own = f"--namespace={namespace}"
    cluster.kubectl("apply", own, "--filename=-", stdin=yaml.safe_dump(pod))
    cluster.kubectl("wait", own, "--for=condition=Ready", f"pod/{NAME}", "--timeout=120s")
    yield Executioner(cluster, namespace)
