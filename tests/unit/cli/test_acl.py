"""`celeriac acl`: the rule to paste, by what the pools of a file say."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from celeriac.cli.main import main
from tests.unit.pool.bodies import minimal

pytestmark = pytest.mark.unit


def acl(*words: str) -> Result:
    return CliRunner().invoke(main, ["acl", *words])


@pytest.fixture
def pools(tmp_path: Path) -> str:
    """Two pools of one Redis, the second without the agent."""
    bodies = [
        minimal(queues=["mail"], broker={"url": "redis://redis", "keyPrefix": "shop:"}),
        minimal(queues=["a*b"], broker={"url": "redis://redis"}, agent="disabled"),
    ]
    file = tmp_path / "pools.yaml"
    file.write_text(yaml.safe_dump_all(bodies))
    return str(file)


def test_the_rule_allows_nothing_but_what_it_names(pools: str) -> None:
    (line,) = acl("-f", pools, "--user", "shop").output.splitlines()
    assert line.startswith("user shop on >PASSWORD resetkeys resetchannels ~shop:mail* ~shop:unacked* ")
    assert line.index(" -@all ") < line.index(" +brpop ")
    assert "+@" not in line


def test_a_queue_whose_name_looks_like_a_pattern_opens_no_other(pools: str) -> None:
    assert r" ~a\*b* " in acl("-f", pools).output


def test_the_operator_needs_no_channel_and_no_blocking_command(pools: str) -> None:
    words = acl("-f", pools, "--for", "operator").output.split()
    assert {"&*", "+brpop", "+publish"} & set(words) == set()
    assert {"+hgetall", "+multi", "~shop:celeriac:*"} <= set(words)


def test_a_pool_without_the_agent_has_no_keys_of_the_agent(pools: str) -> None:
    assert "~celeriac:*" not in acl("-f", pools).output.split()


def test_results_and_further_queues_are_asked_for(pools: str) -> None:
    words = acl("-f", pools, "--for", "workers", "--results", "--queue", "later").output.split()
    assert {"~celery-task*", "+setex", "~shop:later*", "~later*"} <= set(words)


def test_a_bad_pool_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(minimal(queues=[])))
    assert "spec.queues" in acl("-f", str(tmp_path / "bad.yaml")).output
