"""Workers whose pool was deleted, or moved to another broker, while the operator was down."""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.process import wait_until
from tests.integration.crds import install_crds
from tests.integration.kube import POOLS
from tests.integration.operator_process import OperatorProcess
from tests.integration.redis_server import RedisServer
from tests.integration.shop import SECONDS, Shop

pytestmark = pytest.mark.agent

PASSWORD = "s3cr3t-word"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(password=PASSWORD) as running:
        yield running


@pytest.fixture
def shop(control_plane: ControlPlane, redis: RedisServer, namespace: str) -> Iterator[Shop]:
    """Its broker's URL is in a Secret."""
    install_crds(control_plane)
    shop = Shop(control_plane, namespace, redis)
    with shop.node:
        shop.kube.create_secret("broker", url=redis.celery_url)
        shop.open()
        yield shop


@pytest.fixture
def operator(control_plane: ControlPlane, shop: Shop) -> Iterator[OperatorProcess]:
    """It has seen the pool's broker, and is down."""
    with OperatorProcess(control_plane.kubeconfig, shop.kube.namespace) as running:
        shop.kube.wait_for_condition("ml", "BrokerReachable", "True", "Readable")
        running.kill()
        yield running


def test_what_workers_of_a_deleted_pool_hold_is_found_by_their_pods(shop: Shop, operator: OperatorProcess) -> None:
    working, dead = shop.worker("ml-1"), shop.worker("ml-2")
    shop.send("a", "b", "c")
    working.takes(1, started=True)
    dead.takes(2, started=True)
    shop.delete_pool()
    dead.pod.delete()
    dead.pod.ends(shop.now, "Error")
    operator.start()
    shop.wait_until_back("b", "c")
    shop.wait_until_all_was_judged()
    assert (working.held, shop.deaths()) == (["a"], {"b": 0, "c": 0})
    working.pod.delete()
    working.pod.ends(shop.now, "Completed")
    shop.wait_until_back("a", "b", "c")
    for name in shop.pods():
        shop.kube.core.delete_namespaced_pod(name, shop.kube.namespace, grace_period_seconds=0)
    wait_until(lambda: shop.keys() == [], "no key of the agent is left", seconds=SECONDS)
    assert "fault of the operator" not in operator.log()


@pytest.mark.full
def test_a_pool_that_has_moved_gets_back_what_its_old_workers_hold_where_they_took_it(
    shop: Shop, operator: OperatorProcess
) -> None:
    old = shop.worker("ml-1")
    shop.send("a")
    old.takes(1, started=True)
    with RedisServer() as another:
        shop.kube.patch(POOLS, "ml", {"spec": {"broker": {"url": another.celery_url, "urlFrom": None}}})
        operator.start()
        shop.wait_until_all_was_judged()
        assert old.held == ["a"]
        old.pod.delete()
        old.pod.ends(shop.now, "Completed")
        shop.wait_until_back("a")


@pytest.mark.full
def test_where_the_secret_went_with_the_pool_a_line_in_the_log_says_what_to_do(
    shop: Shop, operator: OperatorProcess
) -> None:
    """Other workers, whose broker can be found, are looked after as ever."""
    lost = shop.worker("ml-1")
    shop.send("a")
    lost.takes(1)
    shop.delete_pool()
    shop.kube.core.delete_namespaced_secret("broker", shop.kube.namespace)
    lost.pod.delete()
    lost.pod.ends(shop.now, "Completed")
    operator.start()
    operator.wait_for_log("until `celeriac evacuate` puts it back", seconds=SECONDS)
    shop.kube.create_secret("broker", url=shop.redis.celery_url)
    shop.wait_until_back("a")
    assert operator.log().count("celeriac evacuate") == 1
    assert PASSWORD not in operator.log()
