"""Recovery on a Redis with ACL users: each pool by its own, whatever is broken beside it, and with today's password."""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.ports import HOST
from tests.cluster.process import wait_until
from tests.integration.crds import install_crds
from tests.integration.gone_worker import GoneWorker
from tests.integration.operator_process import OperatorProcess, faultless
from tests.integration.redis_server import RedisServer
from tests.integration.shop import SECONDS, Shop

pytestmark = pytest.mark.agent

OLD, NEW = "0ld-w0rd", "n3w-w0rd"
SHOP_KEYS = ("~mail*", "~unacked*", "~celeriac:*", "~_kombu*")


@pytest.fixture
def shop(control_plane: ControlPlane, redis: RedisServer, namespace: str) -> Iterator[Shop]:
    """Its pool uses the ACL user `shop`, whose URL is in the Secret `broker`."""
    install_crds(control_plane)
    shop = Shop(control_plane, namespace, redis)
    with shop.node:
        shop.kube.create_secret("broker", url=let_in(redis, "shop", OLD, *SHOP_KEYS))
        shop.open()
        yield shop


@pytest.fixture
def operator(control_plane: ControlPlane, shop: Shop) -> Iterator[OperatorProcess]:
    with faultless(control_plane.kubeconfig, shop.kube.namespace) as running:
        shop.kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
        yield running
        assert OLD not in running.log()
        assert NEW not in running.log()


def let_in(redis: RedisServer, user: str, password: str, *keys: str) -> str:
    """Give a user this password and no other, and rights to these keys; who it is logged in as is cut off. Its URL."""
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", user, "on", "resetpass", f">{password}", "resetkeys", *keys, "+@all")
        client.execute_command("CLIENT", "KILL", "USER", user)
    return f"redis://{user}:{password}@{HOST}:{redis.port}/0"


def logged_in(redis: RedisServer, user: str) -> int:
    """Connections of a user."""
    with redis.client() as client:
        return sum(each["user"] == user for each in client.client_list())


def test_a_pool_whose_registry_is_broken_or_closed_stops_no_other_on_the_same_redis(
    shop: Shop, operator: OperatorProcess, redis: RedisServer
) -> None:
    """Each has a user that sees the keys of its own prefix only."""
    shop.kube.create_secret("video", url=let_in(redis, "video", OLD, "~video:*"))
    secret = {"urlFrom": {"secretKeyRef": {"name": "video", "key": "url"}}, "keyPrefix": "video:"}
    video = shop.kube.create_pool("video", broker=secret)
    shop.kube.wait_for_condition("video", "BrokerReachable", "True", "Readable")
    with redis.client() as client:
        client.set(f"video:celeriac:{video['metadata']['uid']}:processes", "something else")
    dead = shop.worker("ml-1")
    shop.send("a")
    dead.takes(1, started=True)
    event = shop.kube.wait_for_event("video", "WrongType")
    assert (event["type"], ":processes" in event["note"]) == ("Warning", True)
    dead.pod.ends(shop.now, "OOMKilled")
    shop.wait_until_back("a")
    metrics = operator.metrics()
    unread = 'celeriac_unread_registrations{reason="WrongType"}'
    assert f"{unread} 1.0" in metrics
    assert f'pool_recovery_failures_total{{namespace="{shop.kube.namespace}",pool="video"' in metrics
    assert f'pool_recovery_failures_total{{namespace="{shop.kube.namespace}",pool="ml"' not in metrics
    with redis.client() as client:
        client.delete(f"video:celeriac:{video['metadata']['uid']}:processes")
    wait_until(lambda: unread not in operator.metrics(), "it is mended", seconds=SECONDS)


@pytest.mark.full
def test_a_worker_deleted_by_force_is_found_gone_while_another_pools_registry_is_broken(
    shop: Shop, operator: OperatorProcess, redis: RedisServer
) -> None:
    """One registry for both. Every look has trouble with the other, and the silence is counted all the same."""
    broken = GoneWorker(redis, "video-1", pool_uid="video-uid", namespace=shop.kube.namespace)
    with redis.client() as client:
        client.hset(broken.key("processes"), broken.process, '{"namespace": "../.."}')
    forced = shop.worker("ml-1")
    shop.send("a")
    forced.takes(1, started=True)
    forced.report()
    forced.pod.is_removed()
    operator.wait_for_log("cannot be understood", seconds=SECONDS)
    shop.wait_until_back("a")
    assert shop.deaths() == {"a": 0}


@pytest.mark.full
def test_a_password_that_is_rotated_after_the_pool_was_deleted_is_found_and_the_old_one_let_go(
    shop: Shop, operator: OperatorProcess, redis: RedisServer
) -> None:
    worker = shop.worker("ml-1")
    shop.send("a", "b")
    worker.takes(2, started=True)
    shop.wait_until_all_was_judged()
    shop.delete_pool()
    for name in shop.pods():
        shop.kube.core.delete_namespaced_pod(name, shop.kube.namespace, grace_period_seconds=0)
    shop.kube.replace_secret("broker", url=let_in(redis, "shop", NEW, *SHOP_KEYS))
    shop.wait_until_back("a", "b")
    wait_until(lambda: shop.keys() == [], "no key of the agent is left", seconds=SECONDS)
    wait_until(lambda: logged_in(redis, "shop") == 0, "no connection is left", seconds=SECONDS)
    assert "given up" not in operator.log()
