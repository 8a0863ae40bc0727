"""What redis-py raises, and what a person can do about it."""

import re
import ssl
from collections.abc import Iterator, Sequence

from redis import exceptions as redis_errors

from celeriac.api.reasons import Reason
from celeriac.api.words import foreign, quoted
from celeriac.brokers.dialing.policy import NotAllowed
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.answers import answer_to
from celeriac.brokers.redis.budget import AnswerTooLarge
from celeriac.brokers.redis.dialled import NotSent
from celeriac.brokers.redis.network_failures import network_doubt, timeout_doubt
from celeriac.brokers.redis.rights import COMMANDS
from celeriac.brokers.redis.sentinels import NoMaster, in_words_of_sentinel, no_master_doubt
from celeriac.brokers.redis.tls_failures import tls_doubt

LONGEST_ANSWER = 200
LONGEST_LACKING = 1500
_CODES = (
    "ASK BUSY BUSYGROUP BUSYKEY CLUSTERDOWN CROSSSLOT DENIED ERR EXECABORT INPROG IOERR LOADING MASTERDOWN MISCONF"
    " MOVED NOAUTH NOGOODSLAVE NOMASTERLINK NOPERM NOPROTO NOQUORUM NOREPLICAS NOSCRIPT NOTBUSY NOTREADY OOM READONLY"
    " STALE TRYAGAIN UNBLOCKED UNKILLABLE WRONGPASS WRONGTYPE"
)
CODES = frozenset(_CODES.split())
"""With which Redis begins an error (server.c, sentinel.c, script.c)."""


def doubt_of(error: BaseException, where: str) -> BrokerDoubt:
    """Turn an error of a whole reading into a BrokerDoubt. `where` names the server without credentials.

    No word of the server is in it, who may be anybody: it is told by fixed sentences, and by a code that Redis has.
    """
    if isinstance(error, NoMaster):
        found = no_master_doubt(error, where)
        return found or in_words_of_sentinel(doubt_of(error.errors[0], where))
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, NotAllowed):
            return BrokerDoubt(Reason.BROKER_NOT_ALLOWED, f"{where}: {cause}")
        if isinstance(cause, NotSent):
            return BrokerDoubt(Reason.BROKER_ERROR, str(cause))
        if isinstance(cause, ssl.SSLError):
            return tls_doubt(cause, where)
    if isinstance(error, redis_errors.TimeoutError | TimeoutError):
        return timeout_doubt(error, where)
    known = answer_to(said(error))
    if known is not None:
        return BrokerDoubt(known[0], known[1].format(where=where))
    refused = _REFUSED_COMMAND.search(str(error))
    if refused and refused[1] in COMMANDS:
        return denied([f"+{refused[1]}"], where)
    for kinds, reason, message in _KINDS:
        if isinstance(error, kinds):
            return BrokerDoubt(reason, message.format(where=where))
    if isinstance(error, redis_errors.ConnectionError | OSError):
        return network_doubt(causes, where)
    code = said(error).partition(" ")[0]
    told = f" ({code})" if code in CODES - {"ERR"} else ""
    return BrokerDoubt(
        Reason.BROKER_ERROR,
        f"{where} refused what was asked, by an error that is not known here{told}: its log may say why, and redis-cli"
        " with the same user shows its words",
    )


def says_nothing(error: BaseException) -> bool:
    """Whether an error leaves open what answers there: a connection that just ended, silence, no Redis protocol."""
    if isinstance(error, redis_errors.InvalidResponse | redis_errors.TimeoutError | TimeoutError):
        return True
    ended = any(isinstance(cause, ConnectionResetError | BrokenPipeError) for cause in _chain(error))
    return isinstance(error, redis_errors.ConnectionError) and (ended or str(error).startswith("Connection closed"))


_REFUSED_COMMAND = re.compile(r"no permissions to run the '([a-z|]{1,40})' command")
_REFUSED = re.compile(r"no permissions|executing the script can't|ACL failure in script", re.IGNORECASE)


def is_refused(error: BaseException) -> bool:
    """Whether the ACL refuses a command or a key."""
    return _is_refused(error, answer_of(error))


def _is_refused(error: BaseException, answer: str) -> bool:
    """Whether the ACL refuses a command or a key; inside a script Redis says so in words only."""
    return isinstance(error, redis_errors.NoPermissionError) or _REFUSED.search(answer) is not None


def queue_doubt(error: BaseException, key: str, kind: str, where: str) -> BrokerDoubt:
    """Turn the error of one key (its `kind` is list, hash or set) into the BrokerDoubt of the pools that need it."""
    answer = answer_of(error)
    if "WRONGTYPE" in answer:
        return BrokerDoubt(
            Reason.BROKER_WRONG_TYPE,
            f"key {quoted(key)} in {where} is no {kind}, so something else uses this name: rename the queue, or give"
            " Celery a key prefix (global_keyprefix, spec.broker.keyPrefix)",
        )
    if _is_refused(error, answer):
        return BrokerDoubt(
            Reason.BROKER_PERMISSION_DENIED,
            f"{where} does not let this user read key {quoted(key)}: grant the ACL user what `celeriac acl` prints",
        )
    return doubt_of(error, where)


def registry_doubt(error: BaseException, key: str, where: str) -> BrokerDoubt:
    """Turn the error of a key in which agents keep something into the BrokerDoubt of the pool that it belongs to."""
    answer = answer_of(error)
    if "WRONGTYPE" in answer:
        return BrokerDoubt(
            Reason.BROKER_WRONG_TYPE,
            f"key {quoted(key)} in {where} is no hash, so something else uses this name, and what a worker holds when"
            " it dies stays there: remove that key, and restart the pool's workers by a rollout",
        )
    if _is_refused(error, answer):
        return BrokerDoubt(
            Reason.BROKER_PERMISSION_DENIED,
            f"{where} does not let this user read key {quoted(key)}, so that what a worker holds when it dies stays"
            " there: grant the ACL user what `celeriac acl` prints, as ~celeriac:* (after the key prefix) and +hgetall",
        )
    return doubt_of(error, where)


def counts_doubt(error: BaseException, key: str, where: str) -> BrokerDoubt:
    """Turn the error of the key in which a pool's tasks are counted into a BrokerDoubt about these counts alone."""
    answer = answer_of(error)
    if "WRONGTYPE" in answer:
        return BrokerDoubt(
            Reason.BROKER_WRONG_TYPE,
            f"key {quoted(key)} in {where} is no hash, so something else uses this name: remove that key",
        )
    if _is_refused(error, answer):
        return BrokerDoubt(
            Reason.BROKER_PERMISSION_DENIED,
            f"{where} does not let this user read key {quoted(key)}: grant the ACL user what `celeriac acl` prints",
        )
    return doubt_of(error, where)


def denied(lacking: Sequence[str], where: str) -> BrokerDoubt:
    """The doubt that names all that the user lacks, in the words of an ACL."""
    told = foreign(" ".join(lacking), LONGEST_LACKING)
    return BrokerDoubt(
        Reason.BROKER_PERMISSION_DENIED,
        f"{where} does not let this user do all that the operator has to: grant the ACL user {told}"
        " (`celeriac acl` prints the whole rule)",
    )


def is_about_a_key(error: BaseException) -> bool:
    """Whether an error says something of one key alone: its type, or that this user may not read it."""
    answer = answer_of(error)
    return "WRONGTYPE" in answer or _is_refused(error, answer)


def write_doubt(error: BaseException, key: str, where: str) -> BrokerDoubt:
    """Turn what Redis answered to a change into a BrokerDoubt. `key` is what was to be written to."""
    answer = answer_of(error)
    if "WRONGTYPE" in answer:
        return BrokerDoubt(
            Reason.BROKER_WRONG_TYPE,
            f"key {quoted(key)} in {where} is of another type than Celery and its agent use it with, so something else"
            " uses this name: rename that",
        )
    if _is_refused(error, answer) and not _REFUSED_COMMAND.search(answer):
        return BrokerDoubt(
            Reason.BROKER_PERMISSION_DENIED,
            f"{where} does not let this user write to key {quoted(key)}, as moving a message takes: grant the ACL user"
            " what `celeriac acl` prints",
        )
    return doubt_of(error, where)


def said(error: BaseException) -> str:
    """The server's words with the code that they begin with, which redis-py cuts off of some."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code and code != "ERR" else str(error)


def answer_of(error: BaseException) -> str:
    """Return the server's words, cut where Redis would repeat the arguments of a command: AUTH has a password."""
    return re.split(r",? with args", str(error), maxsplit=1)[0][:LONGEST_ANSWER]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Reason, str], ...] = (
    (
        redis_errors.AuthenticationError,
        Reason.BROKER_AUTHENTICATION_FAILED,
        "{where} refused the user or password: correct the broker URL in its Secret",
    ),
    (
        (redis_errors.NoPermissionError, redis_errors.AuthorizationError),
        Reason.BROKER_PERMISSION_DENIED,
        "{where} does not let this user read queues: grant the ACL user what `celeriac acl` prints",
    ),
    (
        AnswerTooLarge,
        Reason.ANSWER_TOO_LARGE,
        "{where} answers more than the operator reads of one broker (16 MiB): see that it is the Redis that is meant,"
        " and what is large there (redis-cli --memkeys); a user without +eval +evalsha makes the operator read whole"
        " messages",
    ),
    (
        redis_errors.InvalidResponse,
        Reason.BROKER_UNSUPPORTED,
        "{where} is no Redis, by what it answers: correct host and port in the broker URL",
    ),
)
