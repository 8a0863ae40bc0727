"""Where the tasks write: a folder of the node, which outlives every pod, and a pod that reads it to us.

A file and not a Redis: a line is safe once the kernel has it, whatever becomes of the process in the next moment, and
no network stands between a task and its account. It is a folder of one node: workers are sent to that node.
"""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from tests.cluster import tools
from tests.cluster.target import Target
from tests.ledger.book import Book
from tests.ledger.lines import Line

KEEPER = "keeper"
MOUNT = "/ledger"
NODE_FOLDER = "/run"  # gone with the node, should a killed run leave anything

Body = dict[str, Any]


@dataclass(frozen=True)
class Shelf:
    """The folder `path` on the node `node`, with one file for each namespace that uses it."""

    cluster: Target
    namespace: str
    node: str
    path: str

    def template(self, file: str) -> Body:
        """What a pod's template needs so that its tasks write into `file`."""
        return {
            "nodeSelector": {"kubernetes.io/hostname": self.node},
            "volumes": [{"name": "ledger", "hostPath": {"path": self.path, "type": "Directory"}}],
            "volumeMounts": [{"name": "ledger", "mountPath": MOUNT}],
            "env": [{"name": "LEDGER_FILE", "value": f"{MOUNT}/{file}"}],
        }

    @contextmanager
    def followed(self, file: str, book: Book) -> Iterator[None]:
        """Enter the file's lines into the book as they come."""
        command = ["tail", "--lines=+1", "--follow=name", "--retry", f"{MOUNT}/{file}"]
        with subprocess.Popen(
            self._exec(*command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            reader = threading.Thread(target=_enter, args=(process, book), daemon=True)
            reader.start()
            try:
                yield
            finally:
                process.terminate()
                reader.join()

    def read(self, file: str, book: Book) -> None:
        """Enter all that the file has, in case the follower has missed anything."""
        done = subprocess.run(
            self._exec("sh", "-c", f"touch {MOUNT}/{file}; cat {MOUNT}/{file}"),
            capture_output=True,
            text=True,
            check=True,
        )
        for text in done.stdout.splitlines():
            book.add(Line.parse(text))

    def _exec(self, *command: str) -> list[str]:
        kubectl = [str(tools.binary("kubectl")), f"--kubeconfig={self.cluster.kubeconfig}"]
        return [*kubectl, f"--namespace={self.namespace}", "exec", KEEPER, "--", *command]


def _enter(process: "subprocess.Popen[str]", book: Book) -> None:
    assert process.stdout is not None
    for text in process.stdout:
        book.add(Line.parse(text))


@contextmanager
def shelf(cluster: Target, namespace: str) -> Iterator[Shelf]:
    """A folder that all pods of the node may write to; it goes with everything in it in the end."""
    own = f"--namespace={namespace}"
    cluster.kubectl("apply", own, "--filename=-", stdin=yaml.safe_dump(_keeper(namespace)))
    cluster.kubectl("wait", own, "--for=condition=Ready", f"pod/{KEEPER}", "--timeout=120s")
    node = cluster.kubectl("get", own, "pod", KEEPER, "--output=jsonpath={.spec.nodeName}")
    try:
        yield Shelf(cluster, namespace, node, f"{NODE_FOLDER}/{namespace}")
    finally:
        cluster.kubectl("exec", own, KEEPER, "--", "rm", "-rf", f"/node/{namespace}")


def _keeper(namespace: str) -> Body:
    """A pod that makes the folder, writable for every user like /tmp, and has `tail`."""
    folder = f"/node/{namespace}"
    prepare = f"mkdir -p {folder} && chmod 1777 {folder} && ln -s {folder} {MOUNT} && exec sleep infinity"
    container = {
        "name": KEEPER,
        "image": "redis:7",
        "command": ["sh", "-c", prepare],
        "securityContext": {"runAsUser": 0},
        "readinessProbe": {"exec": {"command": ["test", "-d", f"{MOUNT}/"]}, "periodSeconds": 1},
        "volumeMounts": [{"name": "node", "mountPath": "/node"}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "node", "hostPath": {"path": NODE_FOLDER, "type": "Directory"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": KEEPER}, "spec": spec}
