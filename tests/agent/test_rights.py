"""A worker whose user may do exactly what `celeriac acl` prints: it works, reports, drains, restores, answers."""

from pathlib import Path

import pytest

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.rights import Part, worker_rights
from celeriac.brokers.redis.url import parse
from celeriac.pool.model import QueueLayout
from tests.agent.rig import PREFIX, Rig
from tests.agent.shapes import once
from tests.agent.worker import Spec
from tests.cluster.ports import HOST
from tests.dialers import dialer
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent

SECRET = "only-the-broker-knows"
PART = Part(QueueLayout(key_prefix=PREFIX), ("celery",), agent=True)


@pytest.mark.parametrize("spec", once(quick=["prefork"], prefetch=2))
async def test_exactly_the_rule_that_is_printed_is_enough(spec: Spec, tmp_path: Path) -> None:
    """With events, remote control, mingle and gossip, results in the same Redis, a drain and a crash."""
    rights = worker_rights([PART], results=True)
    with RedisServer(config=[f"user shop on >{SECRET} {rights.rule()}"]) as server:
        url = f"redis://shop:{SECRET}@{HOST}:{server.port}/0"
        with Rig(server, tmp_path, broker=url, config={"result_backend": url}) as rig:
            with server.client() as client:
                client.execute_command("ACL", "LOG", "RESET")
            first, second = rig.start(spec, spec)
            rig.wait_for(lambda: len(rig.sender.control.ping(timeout=0.5)) == 2, "both answer")
            rig.send(*(f"t{number:02}" for number in range(8)), args=[0.7])
            rig.wait_for(lambda: rig.ledger.running(), "some run")
            rig.scale_down(first)
            rig.settle()
            second.wait_for(lambda report: report["unacked"] == 0, "all is acknowledged: green pools are late with it")
            second.restart()
            second.ready()
            rig.send("after")
            rig.settle()
            report = second.wait_for(lambda report: report["state"] == "consuming", "it consumes")
            assert set(report["capabilities"]) == {"inflight", "drain", "exact"}
            assert rig.account().problems == {}
            with server.client() as client:
                refused = [(entry["object"], entry["reason"]) for entry in client.acl_log()]
            assert [each for each in refused if each[0] not in ("client|setinfo",)] == []
        broker = RedisBroker(parse(BrokerAddress(url)), dialer())
        try:
            assert await broker.lacks(rights) == ()
        finally:
            await broker.close()
