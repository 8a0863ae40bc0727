"""A user whom an ACL allows what plain Celery needs, and less than the agent does: a plain worker, which says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.rig import Rig
from tests.agent.shapes import full, once
from tests.agent.worker import Spec
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.agent

QUEUE = ["celery", *(f"celery\x06\x16{step}" for step in (3, 6, 9))]
EXACT_KEYS = [*QUEUE, "unacked", "unacked_index", "unacked_mutex"]
ANY_KEY = ["*"]
RULES = {
    "exact keys": (EXACT_KEYS, [], ["~shop:unacked.*"]),
    "no EVAL": (ANY_KEY, ["-eval"], ["EVAL"]),
    "no HLEN, no HKEYS": (ANY_KEY, ["-hlen", "-hkeys"], ["HLEN", "HKEYS"]),
    "no HMGET": (ANY_KEY, ["-hmget"], ["HMGET"]),
    "keys to read only": (EXACT_KEYS, ["%R~*"], ["~shop:unacked.*"]),
}
"""Keys behind the prefix, further rules, and what the log has to name."""


@pytest.fixture(
    params=[name if name in ("exact keys", "no HMGET") else pytest.param(name, marks=full) for name in RULES]
)
def rule(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def closed(rule: str, server: RedisServer, tmp_path: Path) -> Iterator[Rig]:
    """A pool whose workers are such users."""
    broker = server.celery_url.replace("redis://", "redis://shop:secret@")
    keys, rules, _ = RULES[rule]
    with Rig(server, tmp_path, broker=broker) as rig:
        allowed = [f"~{rig.prefix}{key}" for key in ("_kombu.binding*", "*.pidbox*", *keys)]
        acl = ["ACL", "SETUSER", "shop", "reset", "on", ">secret", "+@all", "&*", *allowed, *rules]
        rig.client.execute_command(*acl)  # type: ignore[no-untyped-call]
        yield rig
        rig.client.execute_command("ACL", "DELUSER", "shop")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "spec", once(quick=["prefork"], pools=["prefork", "gevent", "threads", "solo"], acks_late=True)
)
def test_such_a_user_has_a_plain_worker_that_names_all_that_is_refused(closed: Rig, rule: str, spec: Spec) -> None:
    [worker] = closed.pods(spec)
    worker.start()
    worker.eventually((worker.run_directory / "ready").exists, "it is ready, with reports or without", 30)
    closed.send("a", "b", "c")
    closed.settle(seconds=15)
    log = worker.log_file.read_text()
    assert "could not register (an ACL of Redis refuses" in log
    for name in RULES[rule][2]:
        assert name in log
    assert closed.processes() == {}
    worker.terminate()
    assert closed.account().problems == {}
