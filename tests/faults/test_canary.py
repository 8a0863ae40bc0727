"""A password and arguments that can be recognised are seen nowhere, whatever fails and however much is logged."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.faults.conftest import Figure
from tests.integration.brokers import producer
from tests.integration.kube import Kube
from tests.integration.live_node import LiveNode
from tests.integration.live_shop import LiveShop
from tests.integration.operator_process import OperatorProcess, faultless
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.faults

PASSWORD = "c4nary-Passw0rd&x"
ARGUMENT = "c4nary-Argument"
OBJECTS = "celeryworkerpools,deployments,replicasets,pods,configmaps,events,leases"


@pytest.fixture
def operator(control_plane: ControlPlane, kube: Kube) -> Iterator[OperatorProcess]:
    """It says all that it can say."""
    arguments = ("--log-level", "debug")
    with faultless(control_plane.kubeconfig, kube.namespace, *arguments) as running:
        yield running


@pytest.fixture
def guarded() -> Iterator[RedisServer]:
    with RedisServer(password=PASSWORD, user="celery") as running:
        yield running


def broker_url(redis: RedisServer, password: str = PASSWORD) -> str:
    """As a user writes it: what is no letter is quoted."""
    return f"redis://celery:{quote(password, safe='')}@127.0.0.1:{redis.port}/0"


def work_fails(shop: LiveShop, redis: RedisServer) -> None:
    """Tasks with arguments run, wait, are put back, are no messages at all, and are dead letters."""
    for number in range(4):
        producer(redis).send_task("hold", args=[ARGUMENT], kwargs={ARGUMENT: 1}, queue="ml", task_id=f"task-{number}")
    shop.wait(lambda: len(shop.busy()) == 2, "two run, the others wait")
    with redis.client() as client:
        client.lpush("ml", f'{{"headers": "{ARGUMENT}', json.dumps({"body": ARGUMENT, "headers": {"id": ARGUMENT}}))
    shop.node.kill(next(iter(shop.busy().values())), "OOMKilled")
    shop.kube.wait_for_event("ml", "Restored")
    shop.pin(1)
    shop.wait(lambda: shop.annotated() != {}, "a worker is marked")


def passwords_fail(shop: LiveShop, redis: RedisServer) -> None:
    """One that is refused, one that spoils its URL, one that is no line, and the right one at a server that is gone."""
    kube = shop.kube
    kube.replace_secret("broker", url=broker_url(redis, f"{PASSWORD}-wrong"))
    kube.create_pool("mail", replicas=0)  # a Secret that another pool names is read anew
    kube.wait_for_condition("ml", "BrokerReachable", "False", "AuthenticationFailed")
    for url in (
        f"redis://celery:{PASSWORD}@[127.0.0.1:6379/0",
        broker_url(redis, f"{PASSWORD}\r\nPING"),
        f"redis://celery:{PASSWORD}@127.0.0.1:{redis.port}/zero?ssl_cert_reqs={PASSWORD}",
    ):
        kube.replace_secret("broker", url=url)
        was = kube.condition("ml", "BrokerReachable")
        kube.wait_for_pool("ml", lambda _, was=was: kube.condition("ml", "BrokerReachable") != was)  # type: ignore[misc]
        assert kube.condition("ml", "BrokerReachable")["status"] == "False"
    kube.replace_secret("broker", url=broker_url(redis))
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
    redis.kill()
    kube.wait_for_pool("ml", lambda _: kube.condition("ml", "BrokerReachable")["status"] == "False")
    redis.start()
    kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")


@pytest.mark.parametrize("fails", [work_fails, passwords_fail])
def test_a_password_and_arguments_are_seen_nowhere_whatever_fails(
    fails: Callable[[LiveShop, RedisServer], None],
    kube: Kube,
    control_plane: ControlPlane,
    guarded: RedisServer,
    operator: OperatorProcess,
    tmp_path: Path,
    figure: Figure,
) -> None:
    kube.create_secret("broker", url=broker_url(guarded))
    with LiveNode(kube, tmp_path, guarded, broker_url(guarded), drains=False) as node:
        shop = LiveShop(kube, guarded, node, operator)
        shop.open()
        fails(shop, guarded)
        seen = surfaces(kube, control_plane, operator, guarded)
        figure("surfaces", len(seen), "")
        figure("searched", sum(map(len, seen.values())) / 1024, "KiB")
        assert [name for name, text in seen.items() if not text] == []
        found = [(name, each) for name, text in seen.items() for each in canaries() if each in text]
        assert found == []
        limits = Path(f"/proc/{operator.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), "where it crashes it leaves no core file"


def surfaces(
    kube: Kube, control_plane: ControlPlane, operator: OperatorProcess, redis: RedisServer
) -> Mapping[str, str]:
    """Where people and programs look."""
    proc = Path(f"/proc/{operator.pid}")
    with redis.client() as client:
        of_agents = {key: client.hgetall(key) for key in client.scan_iter("celeriac:*", _type="HASH")}
    objects = {
        kind: control_plane.kubectl(f"--namespace={kube.namespace}", "get", kind, "-o", "yaml", "--ignore-not-found")
        for kind in OBJECTS.split(",")
    }
    return {
        **objects,
        "log of the operator": operator.log(),
        "metrics": operator.metrics(),
        "command line": (proc / "cmdline").read_text(),
        "environment": (proc / "environ").read_text(),
        "what agents keep in Redis": json.dumps(of_agents),
        "audit log": control_plane.audit_log.read_text(),
    }


def canaries() -> Iterator[str]:
    """Both, in all forms in which they may be passed on."""
    for text in (PASSWORD, ARGUMENT):
        yield text
        yield quote(text, safe="")
        yield json.dumps(text)[1:-1]
        yield base64.b64encode(text.encode()).decode().rstrip("=")
