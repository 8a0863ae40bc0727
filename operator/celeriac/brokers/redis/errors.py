"""What redis-py raises, and what a person can do about it."""

import socket
import ssl
from collections.abc import Iterator

from redis import exceptions as redis_errors
from redis.asyncio.sentinel import MasterNotFoundError

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt

LONGEST_ANSWER = 200
LONGEST_KEY = 200


def doubt_of(error: BaseException, where: str) -> BrokerDoubt:
    """Turn an error of a whole reading into a BrokerDoubt. `where` names the server without credentials."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLError):
            return _tls_doubt(cause, where)
    for kinds, reason, message in _KINDS:
        if isinstance(error, kinds):
            return BrokerDoubt(reason, message.format(where=where))
    if isinstance(error, redis_errors.ConnectionError):
        return _connection_doubt(error, where)
    answer = answer_of(error)
    if "DB index" in answer:
        return BrokerDoubt(
            Reason.BROKER_URL_INVALID,
            f"{where} has no database of the number in the broker URL: correct it, or raise `databases` in redis.conf",
        )
    if answer.startswith("BUSY"):
        return BrokerDoubt(
            Reason.BROKER_BUSY, f"{where} is busy with a script of somebody: wait, or end it with SCRIPT KILL"
        )
    return BrokerDoubt(Reason.BROKER_ERROR, f"{where} refused what was asked: {answer}")


def _is_refused(error: BaseException, answer: str) -> bool:
    """Whether the ACL refuses a command or a key; inside a script Redis says so in words only."""
    return isinstance(error, redis_errors.NoPermissionError) or "can't" in answer or "permission" in answer


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
            f"{where} does not let this user read key {quoted(key)}: grant the ACL user the pattern ~{_bounded(key)}*"
            " and +@read",
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
            " there: grant the ACL user the pattern ~celeriac:* (after the key prefix) and +@read",
        )
    return doubt_of(error, where)


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
    if _is_refused(error, answer):
        return BrokerDoubt(
            Reason.BROKER_PERMISSION_DENIED,
            f"{where} does not let this user move messages: grant the ACL user +@read +@write +@transaction +@scripting"
            " and the patterns of the queues, unacked*, celeriac:* and _kombu.binding.*, each after the key prefix",
        )
    if answer.startswith("OOM"):
        return BrokerDoubt(
            Reason.BROKER_ERROR, f"{where} has no memory left for a message: raise maxmemory, or let workers run"
        )
    return doubt_of(error, where)


def answer_of(error: BaseException) -> str:
    """Return the server's words, cut where Redis would repeat the arguments of a command: AUTH has a password."""
    return str(error).split(", with args", 1)[0][:LONGEST_ANSWER]


def quoted(text: str) -> str:
    """Somebody else's text as it may stand in a message: escaped, and cut to LONGEST_KEY characters."""
    return repr(_bounded(text))


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST_KEY else f"{text[:LONGEST_KEY]}…"


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
        redis_errors.BusyLoadingError,
        Reason.BROKER_LOADING,
        "{where} is loading its data from disk: wait until it has finished",
    ),
    (
        (redis_errors.TimeoutError, TimeoutError),
        Reason.BROKER_TIMEOUT,
        "{where} did not answer in time: check that it is not overloaded, that a network policy lets the operator in,"
        " and that rediss:// names a port with TLS (a plain one stays silent), redis:// one without",
    ),
    (
        (redis_errors.NoPermissionError, redis_errors.AuthorizationError),
        Reason.BROKER_PERMISSION_DENIED,
        "{where} does not let this user read queues: grant the ACL user +@read +@connection +@scripting +info +time and"
        " the patterns of the queues, unacked* and _kombu.binding.*",
    ),
    (
        (redis_errors.MovedError, redis_errors.AskError, redis_errors.ClusterError),
        Reason.BROKER_UNSUPPORTED,
        "{where} is a Redis Cluster, for which Celery has no transport: use one Redis, or Redis with Sentinel",
    ),
    (
        redis_errors.ReadOnlyError,
        Reason.BROKER_IS_REPLICA,
        "{where} is a replica: let the broker URL name the master, or use sentinel://",
    ),
    (
        MasterNotFoundError,
        Reason.BROKER_CONNECTION_FAILED,
        "{where}: no Sentinel answered with a master of that name that is up: check spec.broker.sentinelMaster, the"
        " Sentinel addresses and the master",
    ),
)


def _connection_doubt(error: redis_errors.ConnectionError, where: str) -> BrokerDoubt:
    if any(isinstance(cause, socket.gaierror) for cause in _chain(error)):
        return BrokerDoubt(
            Reason.BROKER_CONNECTION_FAILED,
            f"{where}: the host name is not known: write it as service.namespace, and check that the Service exists",
        )
    return BrokerDoubt(
        Reason.BROKER_CONNECTION_FAILED,
        f"{where} cannot be reached or closed the connection: check that it runs, that host and port are right, that"
        " a port with TLS is addressed as rediss://, and that a server which asks for client certificates gets one"
        " (spec.broker.tls.certificateFrom)",
    )


def _tls_doubt(error: ssl.SSLError, where: str) -> BrokerDoubt:
    if isinstance(error, ssl.SSLCertVerificationError):
        cure = (
            f"its certificate is not trusted ({error.verify_message}): give the authority's certificate in"
            " spec.broker.tls.caFrom (files named in the URL are those of the worker's image)"
        )
    elif "CERTIFICATE_REQUIRED" in str(error) or "HANDSHAKE_FAILURE" in str(error):
        cure = "it asks for a client certificate: give one in spec.broker.tls.certificateFrom and .privateKeyFrom"
    elif "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error):
        cure = "it does not speak TLS on this port: use redis://, or the TLS port"
    else:
        cure = f"TLS failed ({error.reason or 'no reason given'}): check certificates and TLS versions"
    return BrokerDoubt(Reason.BROKER_TLS_FAILED, f"{where}: {cure}")
