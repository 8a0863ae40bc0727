"""A node without containers: it takes the Pods of a namespace and runs their workers as processes, the agent included.

with LiveNode(kube, directory, redis) as node:      # a thread of its own does what a scheduler and a kubelet do
    node.problems                                   # what must not be: a Pod that was stopped before it had drained
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kubernetes.client import ApiException

from celeriac.api.names import DRAIN_ANNOTATION
from celeriac.resources.agent import AGENT_DIR
from tests.cluster.process import children_of
from tests.integration.kube import Body, Kube
from tests.integration.kubelet import FakeNode, FakePod
from tests.integration.mounts import mounted, search_path
from tests.integration.redis_server import RedisServer

AGENT = Path(__file__).parents[2] / "worker-image" / "agent"
LOOK_SECONDS = 0.2
HEARTBEAT_SECONDS = 10.0
"""As a kubelet renews its Lease: without it the Pods of the node would be marked as not ready, and removed."""
ISOLATION = (
    *("unshare", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))),
    *("--pid", "--fork", "--kill-child=KILL", "--"),
)
BROKER_VARIABLES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
ENDED_AT = 2e9  # later than any start: what the operator makes of times is not asked here

# A task that says where it runs, and ends when it is released; others, the last of which lets nothing else run in its
# process.
APP = """\
import ctypes
import os
import time
import redis
from celery import Celery

app = Celery("app")

@app.task(name="hold", bind=True, acks_late=True)
def hold(self, *arguments, **named):
    with redis.Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None) as client:
        client.hset("running", self.request.id, os.environ["CELERIAC_POD_NAME"])
        client.blpop("release", timeout=0)
        client.rpush("ended", self.request.id)
        client.hdel("running", self.request.id)

@app.task(name="quick", bind=True)
def quick(self, seconds):
    with redis.Redis.from_url(os.environ["CELERY_BROKER_URL"]) as client:
        time.sleep(seconds)
        client.rpush("ended", self.request.id)

@app.task(name="fail")
def fail():
    raise ValueError("as intended")

@app.task(name="keep_the_gil", bind=True)
def keep_the_gil(self, seconds):
    with redis.Redis.from_url(os.environ["CELERY_BROKER_URL"], socket_timeout=None) as client:
        client.hset("running", self.request.id, os.environ["CELERIAC_POD_NAME"])
        ctypes.PyDLL(None).sleep(seconds)
        client.hdel("running", self.request.id)
"""


class _Container:
    """The worker of one Pod, by the command and the variables of its Pod."""

    def __init__(self, body: Body, directory: Path, broker_url: str, *, isolated: bool) -> None:
        self.run_dir: Path = directory / body["metadata"]["name"]
        self.run_dir.mkdir(exist_ok=True)
        container = body["spec"]["containers"][0]
        command = [mounted(word, {AGENT_DIR: AGENT}) for word in (*container["command"], *container["args"])]
        variables = {each["name"]: _value(each, body) for each in container["env"]}
        variables |= dict.fromkeys(BROKER_VARIABLES, broker_url)
        variables |= {"CELERIAC_RUN_DIR": str(self.run_dir), "C_FORCE_ROOT": "1", "PYTHONPATH": str(directory)}
        variables["PATH"] = search_path()
        self._isolated = isolated
        with (self.run_dir / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *(ISOLATION if isolated else ()), *command],
                cwd=directory,
                env=os.environ | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def is_ready(self) -> bool:
        """What the readiness probe looks at."""
        return (self.run_dir / "ready").exists()

    @property
    def has_ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.poll() is not None

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        if self._isolated:  # unshare hands nothing on
            for child in children_of(self._process.pid):
                os.kill(child, number)
        else:
            self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class LiveNode:
    """All that is needed to make a Pod of a namespace run, and to end it when it is deleted."""

    def __init__(
        self,
        kube: Kube,
        directory: Path,
        redis: RedisServer,
        broker_url: str | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        drains: bool = True,
        name: str = "live",
    ) -> None:
        """`broker_url` is what the workers dial instead of the server's own URL, `config` the settings of their app.

        Without `drains` a worker may be stopped that has not drained. It is PID 1 then, as in a container, so that it
        says that SIGTERM reaches it: what starts the tests may ignore that.
        """
        self.problems: list[str] = []
        self._kube = kube
        self._core: Any = kube.core
        self._drains = drains
        self._directory = directory
        self._redis = redis
        self._broker_url = broker_url or redis.celery_url
        self.machine = FakeNode(kube, name)
        self._beats = True
        self._heartbeat_at = 0.0
        self._containers: dict[str, _Container] = {}
        self._ready: set[str] = set()
        self._ending: set[str] = set()
        self._killed: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        (directory / "app.py").write_text(f"{APP}\napp.conf.update({dict(config or {})!r})\n")

    def pods(self) -> list[Body]:
        """The Pods of the namespace that are not being deleted."""
        return [body for body in self._list() if "deletionTimestamp" not in body["metadata"]]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the worker of a Pod."""
        (body,) = (body for body in self.pods() if body["metadata"]["name"] == name)
        self._containers[body["metadata"]["uid"]].signal(number)

    def kill(self, name: str, reason: str) -> None:
        """SIGKILL to the worker of a Pod, whose container is not started anew for the time being."""
        (body,) = (body for body in self.pods() if body["metadata"]["name"] == name)
        self._killed.add(body["metadata"]["uid"])
        self._containers[body["metadata"]["uid"]].kill()
        FakePod(self._kube, body).ends(time.time(), reason)

    def falls_silent(self) -> None:
        """Nothing is heard of its kubelet any more, and nothing is done by it; its workers live on."""
        self._beats = False

    def goes_off(self) -> None:
        """The same, and its workers are gone with it."""
        self._stop.set()
        self._thread.join()
        for container in self._containers.values():
            container.kill()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            if not self._beats:
                continue  # its workers would be killed with this thread, which has started them
            if time.monotonic() >= self._heartbeat_at:
                self._heartbeat_at = time.monotonic() + HEARTBEAT_SECONDS
                self.machine.is_ready()
            for body in self._list():
                try:
                    self._serve(body)
                except ApiException as error:
                    if error.status not in (404, 409):  # somebody else has changed or removed the Pod just now
                        self.problems.append(f"{body['metadata']['name']}: {error}")
                except Exception as error:
                    self.problems.append(f"{body['metadata']['name']}: {error!r}")

    def _list(self) -> list[Body]:
        answer = self._core.list_namespaced_pod(self._kube.namespace, _preload_content=False)
        items: list[Body] = json.loads(answer.data)["items"]
        return items

    def _serve(self, body: Body) -> None:
        uid, pod = body["metadata"]["uid"], FakePod(self._kube, body)
        if body["spec"].get("nodeName", self.machine.name) != self.machine.name:
            return
        if body["metadata"].get("deletionTimestamp"):
            self._end(body, pod)
        elif uid not in self._containers:
            self._containers[uid] = _Container(body, self._directory, self._broker_url, isolated=not self._drains)
            target = {"apiVersion": "v1", "kind": "Node", "name": self.machine.name}
            binding = {"metadata": {"name": pod.name}, "target": target}
            self._core.create_namespaced_binding(self._kube.namespace, binding, _preload_content=False)
        elif uid not in self._ready and self._containers[uid].is_ready:
            pod.runs()
            self._ready.add(uid)
        elif uid not in self._killed and self._containers[uid].has_ended:
            pod.is_not_ready()
            self._ready.discard(uid)
            self._containers[uid] = _Container(body, self._directory, self._broker_url, isolated=not self._drains)

    def _end(self, body: Body, pod: FakePod) -> None:
        """SIGTERM, and once the worker has ended the last word. Whoever is stopped has to have drained."""
        container = self._containers.get(pod.uid)
        if container is None:
            pod.is_removed()
        elif pod.uid not in self._ending:
            self._ending.add(pod.uid)
            if self._drains:
                self._check(body)
            container.terminate()
        elif container.has_ended:
            pod.ends(ENDED_AT, "Completed")
            pod.is_removed()

    def _check(self, body: Body) -> None:
        """What the agent of a Pod that is stopped said last."""
        metadata = body["metadata"]
        token = metadata.get("annotations", {}).get(DRAIN_ANNOTATION)
        pool_uid = next(
            each["value"] for each in body["spec"]["containers"][0]["env"] if each["name"] == "CELERIAC_POOL_UID"
        )
        with self._redis.client() as client:
            text = client.hget(f"celeriac:{pool_uid}:reports", metadata["uid"])
        report = json.loads(text) if text else {}
        if token is None or (report.get("state"), report.get("token")) != ("drained", token):
            self.problems.append(f"{metadata['name']} was stopped with the mark {token}; it had said {report}")

    def __enter__(self) -> Self:
        self.machine.create()
        self.machine.is_ready()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for container in self._containers.values():
            container.kill()
            if error is not None:
                print(f"--- {container.run_dir.name} ---\n{(container.run_dir / 'log').read_text()[-3000:]}")
        for body in self._list():
            with contextlib.suppress(ApiException):
                FakePod(self._kube, body).is_removed()
        self.machine.__exit__(kind, error, trace)


def _value(variable: Body, pod: Body) -> str:
    """A variable of a container as the kubelet gives it; Secrets are not looked up."""
    path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
    text: str = pod["metadata"][path.removeprefix("metadata.")] if path else variable.get("value", "")
    return text
