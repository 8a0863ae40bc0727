"""All situations of `status_rows` at once: one pool each, on a real API server, with real controllers and a real Redis.

What a kubelet and a scheduler would write of Pods is written by hand. Time is not waited for: the operator is stopped,
what its statuses tell is made an hour old, and it is started again.
"""

import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from celeriac.api.names import POOL_LABEL
from tests.cluster import tools
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.ports import free_port
from tests.cluster.process import wait_until
from tests.integration import impatient_operator
from tests.integration.kstatus import verdict
from tests.integration.kube import DEPLOYMENTS, POOLS, Body, Kube
from tests.integration.kubelet import FakePod
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.scale_policy import scale_policy
from tests.integration.status_rows import ABSENT, ROWS, Row, When
from tests.integration.tasks import push

SECONDS = 60.0
ONE: Final = {"scaling": {"minReplicas": 1}}
AT_ONCE: Final = {"scaleToZeroAfterSeconds": 0, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
NOT_A_LIST: Final = {"spec": {"affinity": {"nodeAffinity": {"preferred": 5}}}}
CA: Final = {"caFrom": {"secretKeyRef": {"name": "no-ca", "key": "ca.crt"}}}

ELSEWHERE: Final = {"quota": "quota", "quota-limits": "quota-limits", "strict": "strict", "unseen": "unseen"}
"""Pools that have a namespace of their own; that of `unseen` is watched by nobody."""
TASKS: Final = {
    "waking": 2,
    "waking-no-room": 1,
    "pinned-zero": 1,
    "paused-zero": 1,
    "dry-run": 1,
    "burst": 5,
    "burst-no-room": 3,
    "quota-limits": 3,
    "bolted": 1,
}
"""Tasks that are sent to the pools' queues once they sleep."""
PODS: Final = {
    "waking": 2,
    "waking-no-room": 1,
    "working": 2,
    "burst": 5,
    "burst-no-room": 3,
    "starting": 1,
    "lost": 1,
    "crash": 1,
    "no-image": 1,
    "no-room": 1,
    "quota-limits": 1,
    "rollout": 1,
    "bad-rollout": 1,
    "halted": 1,
    "hands-off": 1,
    "broker-lost": 1,
}
"""Pods that the controllers then make of them."""
ASKED: Final = ("asleep", "waking", "no-secret", "no-host", "rollout", "crash", "taken", "unseen", "changed")
"""Pools of which `kubectl wait` is asked: it takes its time for each."""
IMPATIENT: Final = str(Path(impatient_operator.__file__))
WAITS: Final = ("Ready", "Stalled", "Reconciling=False")
WEBHOOK: Final = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: hooked-NAMESPACE}
webhooks:
- name: gone.example.com
  clientConfig: {url: "https://127.0.0.1:1/"}
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  rules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  matchConditions: [{name: only, expression: request.name == 'hooked'}]
"""


class Scene:
    """The pools, and what was seen of each: its body, and for which of WAITS `kubectl wait` passes.

    changing   what kstatus made of a pool from the moment its spec was changed until the status told what follows, and
               what a wait for Ready would have
    """

    def __init__(self, control_plane: ControlPlane, namespace: str, stack: ExitStack) -> None:
        self._control_plane = control_plane
        self._namespace = namespace
        self._kubes = {word: self._kube(word) for word in ("", *ELSEWHERE.values())}
        self._redis = stack.enter_context(RedisServer())
        self._lost_redis = stack.enter_context(RedisServer())
        self.seen: dict[Row, Body] = {}
        self.waited: dict[tuple[Row, str], bool] = {}
        self.changing: dict[str, list[tuple[str, bool]]] = {}
        stack.callback(self._clean_up)
        self._prepare()
        watched = [f"{namespace}-{word}" for word in ELSEWHERE.values() if word != "unseen"]
        arguments = [part for name in watched for part in ("--watch-namespace", name)]
        self.operator = stack.enter_context(OperatorProcess(control_plane.kubeconfig, namespace, *arguments))

    def play(self) -> None:
        """All situations, at once, alone and later."""
        self._begin()
        self._befall()
        self._look(When.AT_ONCE)
        assert self.operator.stop() == 0
        self.kube("changed").patch(POOLS, "changed", {"spec": {"image": "app:2"}})
        self._look(When.ALONE)
        self.operator.start(IMPATIENT)
        self._look(When.LATER)

    def kube(self, pool: str) -> Kube:
        """The namespace of a pool."""
        return self._kubes[ELSEWHERE.get(pool, "")]

    def _kube(self, word: str) -> Kube:
        name = f"{self._namespace}-{word}" if word else self._namespace
        kube = Kube(self._control_plane.kubeconfig, name, patience=SECONDS)
        core: Any = kube.core
        labels = {"pod-security.kubernetes.io/enforce": "restricted"} if word == "strict" else {}
        core.create_namespace({"metadata": {"name": name, "labels": labels}})
        return kube

    def _clean_up(self) -> None:
        """What outlives the namespaces, and what would keep one from going."""
        self.kube("leaving").patch(POOLS, "leaving", {"metadata": {"finalizers": None}})
        self._control_plane.kubectl("delete", "--wait=false", "-f", "-", stdin=self._policy)
        for kube in self._kubes.values():
            core: Any = kube.core
            core.delete_namespace(kube.namespace)

    @property
    def _policy(self) -> str:
        scaling = scale_policy(self._namespace, "nobody scales this", unless="!(request.name in ['bolted', 'taken'])")
        return f"{scaling}---{WEBHOOK.replace('NAMESPACE', self._namespace)}"

    def _prepare(self) -> None:
        """What is there before the pools."""
        main = self._kubes[""]
        self._control_plane.kubectl("apply", "-f", "-", stdin=self._policy)
        for word, pods in (("quota", 0), ("quota-limits", 1)):
            core: Any = self._kubes[word].core
            quota = {"metadata": {"name": "narrow"}, "spec": {"hard": {"pods": str(pods)}}}
            core.create_namespaced_resource_quota(self._kubes[word].namespace, quota)
        address = self._redis.celery_url.removeprefix("redis://")
        main.create_secret("no-key", other=self._redis.celery_url)
        main.create_secret("wrong-password", url=f"redis://nobody:wrong@{address}")
        self._kubectl("create", "deployment", "taken", "--image=web:1", "--replicas=0")

    def _begin(self) -> None:
        """Make all pools, and wait until those sleep that will have work, and all others have their Pods."""
        for pool in dict.fromkeys(row.pool for row in ROWS):
            url, spec = self._spec(pool)
            self.kube(pool).create_pool(pool, url, **{"agent": "disabled", "queues": [pool]} | spec)
        wait_until(self._policy_holds, "the policy is in force", seconds=SECONDS)
        for pool in (*TASKS, "asleep", "scaled-away", "changed", "leaving", "misled"):
            self.kube(pool).wait_for_condition(pool, "Ready", "True", "ScaledToZero")
        for pool, count in TASKS.items():
            push(self._redis, pool, count)
        for pool, replicas in (("hands-off", 1), ("scaled-away", 2)):
            self.kube(pool).wait_for(DEPLOYMENTS, pool, lambda _: True)
            self.kube(pool).patch(DEPLOYMENTS, pool, {"spec": {"replicas": replicas}})  # as kubectl scale

    def _spec(self, pool: str) -> tuple[str | None, Body]:
        """Where a pool's broker is, and what else its spec has."""
        secret = {"urlFrom": {"secretKeyRef": {"name": pool, "key": "url"}}}
        url: str | None = self._redis.celery_url
        specs: dict[str, Body] = {
            **{name: {"broker": secret} for name in ("no-secret", "no-key", "wrong-password")},
            **dict.fromkeys(("starting", "lost", "crash", "no-image", "no-room", "quota", "strict"), ONE),
            **dict.fromkeys(("rollout", "bad-rollout", "halted", "broker-lost"), ONE),
            "no-ca": {"broker": {"url": "rediss://redis:6379/0", "tls": CA}},
            "pinned-zero": {"replicas": 0},
            "paused-zero": {"scaling": {"mode": "Paused"}},
            "hands-off": {"scaling": {"mode": "Paused"}},
            "dry-run": {"scaling": {"mode": "DryRun"}},
            "scaled-away": {"scaling": AT_ONCE},
            "working": {"scaling": {"minReplicas": 2}},
            "misfit": {"template": NOT_A_LIST},
        }
        urls = {
            "no-host": "redis://nobody.invalid:6379/0",
            "refuses": f"redis://127.0.0.1:{free_port()}/0",
            "broker-lost": self._lost_redis.celery_url,
            "invalid": "redis://redis:99999/0",
        }
        return urls.get(pool, url), specs.get(pool, {})

    def _befall(self) -> None:
        """What the scheduler, the kubelet and other people do."""
        pods = {pool: self._pods(pool, count) for pool, count in PODS.items()}
        for pool, ready in (("working", 2), ("burst", 2), ("burst-no-room", 1), ("quota-limits", 1), ("lost", 1)):
            for pod in pods[pool][:ready]:
                pod.runs()
        for pool in ("rollout", "bad-rollout", "halted", "hands-off", "broker-lost"):
            pods[pool][0].runs()
        for pod in (*pods["waking-no-room"], *pods["burst-no-room"][1:], *pods["no-room"]):
            pod.finds_no_node("0/3 nodes are available: 3 Insufficient cpu.")
        pods["crash"][0].waits("CrashLoopBackOff", "back-off 20s restarting failed container", restarts=3)
        pods["no-image"][0].waits("ImagePullBackOff", 'Back-off pulling image "app:1"')
        for pool in ("lost", "rollout", "bad-rollout", "halted", "hands-off", "broker-lost"):
            self.kube(pool).wait_for_condition(pool, "Ready", "True", "Ready")
        pods["lost"][0].is_not_ready()
        self.kube("misled").patch(POOLS, "misled", {"spec": {"broker": {"url": "redis://nobody.invalid:6379/0"}}})
        self._watch("misled", "Ready", "False ConnectionFailed")
        self._roll_out(pods["bad-rollout"][0])
        self.kube("halted").patch(DEPLOYMENTS, "halted", {"spec": {"paused": True}})  # as kubectl rollout pause
        self._lost_redis.stop()
        self.kube("scaled-away").wait_for_event("scaled-away", "ScaledDown")
        self.kube("leaving").patch(POOLS, "leaving", {"metadata": {"finalizers": ["test/wait"]}})
        self.kube("leaving").delete(POOLS, "leaving")

    def _roll_out(self, old: FakePod) -> None:
        """Two new images; of the one there is nothing."""
        for pool in ("rollout", "bad-rollout"):
            self.kube(pool).patch(POOLS, pool, {"spec": {"image": "app:2"}})
        self._watch("rollout", "Reconciling", "True RollingOut")
        new = next(pod for pod in self._pods("bad-rollout", 2) if pod.uid != old.uid)
        new.waits("ErrImagePull", 'failed to pull image "app:2": not found')

    def _watch(self, pool: str, type_: str, text: str) -> None:
        """Note all verdicts about a pool until a condition of its present generation says so."""
        verdicts = self.changing[pool] = []

        def is_told(body: Body) -> bool:
            is_seen = bool(body["status"]["observedGeneration"] == body["metadata"]["generation"])
            verdicts.append((verdict(body), is_seen and conditions(body)["Ready"].startswith("True")))
            return is_seen and conditions(body)[type_] == text

        self.kube(pool).wait_for_pool(pool, is_told)

    def _look(self, when: When) -> None:
        """Look at all pools until the rows of this time hold, or for long enough; then ask `kubectl wait`."""
        rows = [row for row in ROWS if row.when is when]

        def all_hold() -> bool:
            bodies = {body["metadata"]["name"]: body for kube in self._kubes.values() for body in kube.list(POOLS)}
            self.seen |= {row: bodies[row.pool] for row in rows}
            return all(holds(row, bodies[row.pool]) for row in rows)

        with suppress(ClusterError):  # each row tells by itself what it is like instead
            wait_until(all_hold, "all situations", seconds=SECONDS)
        for kube in (self._kubes[""], self._kubes["unseen"]):
            here = [row for row in rows if self.kube(row.pool) is kube and row.pool in ASKED]
            for condition in WAITS if here else ():
                met = self._kubectl_wait(kube, here, condition)
                for row in here:
                    self.waited[row, condition] = f"celeryworkerpool.celeriac.dev/{row.pool} condition met" in met

    def _kubectl_wait(self, kube: Kube, rows: list[Row], condition: str) -> str:
        """What `kubectl wait` says of several pools; it fails where it passes for not all of them."""
        names = [f"cwp/{row.pool}" for row in rows]
        command = [str(tools.binary("kubectl")), "wait", f"--for=condition={condition}", "--timeout=0", *names]
        place = [f"--kubeconfig={self._control_plane.kubeconfig}", f"--namespace={kube.namespace}"]
        asked = subprocess.run([*command, *place], capture_output=True, text=True, check=False)
        return asked.stdout

    def _pods(self, pool: str, count: int) -> list[FakePod]:
        """The Pods that the controllers have made of a pool, once there are so many."""
        kube = self.kube(pool)
        core: Any = kube.core
        found: list[Any] = []

        def are_made() -> bool:
            found[:] = core.list_namespaced_pod(kube.namespace, label_selector=f"{POOL_LABEL}={pool}").items
            return len(found) == count

        wait_until(are_made, f"{count} pods of {pool}", seconds=SECONDS)
        return [FakePod(kube, pod.to_dict()) for pod in found]

    def _kubectl(self, *arguments: str) -> None:
        self._control_plane.kubectl(*arguments, f"--namespace={self._namespace}")

    def _policy_holds(self) -> bool:
        """Whether nobody may scale the Deployment `taken`."""
        try:
            self._kubectl("scale", "deployment/taken", "--replicas=0", "--dry-run=server")
        except ClusterError as error:
            return "nobody scales this" in str(error)
        return False


def conditions(body: Body) -> dict[str, str]:
    """Status and reason of the conditions of a pool, by type."""
    told = (body.get("status") or {}).get("conditions") or ()
    return {each["type"]: f"{each['status']} {each['reason']}" for each in told}


def holds(row: Row, body: Body) -> bool:
    """Whether a pool's conditions are those of the row."""
    told = conditions(body)
    return {type_: told.get(type_, ABSENT) for type_ in row.conditions} == row.conditions
