"""By which word Redis names an error, as redis-py hands it over."""

import pytest
import redis
from celeriac_agent.refusals import PASSING, code_of, passes
from redis._parsers.base import BaseParser

pytestmark = pytest.mark.unit

WORDS = {
    "OOM command not allowed when used memory > 'maxmemory'.": "OOM",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": "MISCONF",
    "MISCONF Errors writing to the AOF file: No space left on device": "MISCONF",
    "READONLY You can't write against a read only replica.": "READONLY",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "MASTERDOWN",
    "NOREPLICAS Not enough good replicas to write.": "NOREPLICAS",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": "BUSY",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": "UNBLOCKED",
    "CLUSTERDOWN Hash slot not served": "CLUSTERDOWN",
    "TRYAGAIN Multiple keys request during rehashing of slot": "TRYAGAIN",
    "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.": "OOM",
    "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.": "READONLY",
    "ERR Error running script (call to f_1): @user_script:2: @user_script: 2: -MISCONF Redis is configured": "MISCONF",
    "NOPERM this user has no permissions to run the 'hset' command": "NOPERM",
    "WRONGTYPE Operation against a key holding the wrong kind of value": "WRONGTYPE",
    "CROSSSLOT Keys in request don't hash to the same slot": "CROSSSLOT",
    "MOVED 3999 127.0.0.1:6381": "MOVED",
    "ERR unknown command 'BRPOP', with args beginning with: 'celery'": "ERR",
}


@pytest.mark.parametrize("text", WORDS)
def test_each_error_keeps_its_word_alone_and_in_a_pipeline(text: str) -> None:
    for number in (0, 1):
        error = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
        assert isinstance(error, redis.ResponseError)
        if number:
            command = ["HSET", "key", "OOM caused error: MISCONF because of: OOM "]
            redis.client.Pipeline.annotate_exception(None, error, number, command)  # type: ignore
        assert code_of(error) == WORDS[text]
        assert passes(error) == (WORDS[text] in PASSING)
