"""A user whom an ACL allows what plain Celery needs, and less than the agent does: a plain worker, which says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.rig import Rig
from tests.agent.shapes import once
from tests.agent.worker import Spec
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent

EXACT_KEYS = ["celery", "celery\x06\x163", "celery\x06\x166", "celery\x06\x169", "unacked", "unacked_index", "unacked_mutex"]
ANY_KEY = ["*"]
RULES = {
    "exact keys": (EXACT_KEYS, [], ["~shop:unacked.*"]),
    "no EVAL": (ANY_KEY, ["-eval"], ["EVAL"]),
    "no HLEN, no ZRANGE": (ANY_KEY, ["-hlen", "-zrange"], ["HLEN", "ZRANGE"]),
    "no HMGET": (ANY_KEY, ["-hmget"], ["HMGET"]),
    "keys to read only": ([*EXACT_KEYS], ["%R~*"], ["~shop:unacked.*"]),
}
"""Keys behind the prefix, further rules, and what the log has to name."""


@pytest.fixture(params=sorted(RULES))
def rule(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def closed(rule: str, server: RedisServer, tmp_path: Path) -> Iterator[Rig]:
    """A pool whose workers are such users."""
    broker = server.celery_url.replace("redis://", "redis://shop:secret@")
    with Rig(server, tmp_path, broker=broker) as rig:
        keys, rules, _ = RULES[rule]
        allowed = ["_kombu.binding*", "*.pidbox", "*reply*", "celeriac:*:reports" if rule == "x" else "_none", *keys]
        rig.client.execute_command(
            *("ACL", "SETUSER", "shop", "reset", "on", ">secret", "+@all", "&*"),
            *(f"~{rig.prefix}{key}" for key in allowed),
            *rules,
        )
        yield rig
        rig.client.execute_command("ACL", "DELUSER", "shop")


@pytest.mark.parametrize("spec", once(quick=["prefork"], pools=["prefork", "gevent", "threads", "solo"], acks_late=True))
def test_such_a_user_has_a_plain_worker_that_names_all_that_is_refused(closed: Rig, rule: str, spec: Spec) -> None:
    [worker] = closed.pods(spec)
    worker.start()
    worker.plainly_ready()
    closed.send("a", "b", "c")
    closed.settle(seconds=15)
    log = worker.log_file.read_text()
    assert "could not register (an ACL of Redis refuses" in log
    for name in RULES[rule][2]:
        assert name in log
    assert closed.processes() == {}
    worker.terminate()
    assert closed.account().problems == {}
