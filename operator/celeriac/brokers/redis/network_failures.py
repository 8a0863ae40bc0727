"""Why no connection was made, or why it was lost: what the operating system says, and what a person does about it."""

import errno
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt

_DNS_IS_AWAY: Final = (
    "the name server does not answer: check the cluster's DNS (CoreDNS), and that a network policy lets the operator"
    " ask it on port 53"
)
_NO_SUCH_HOST: Final = (
    "the host name is not known: write it as service.namespace, and check that the Service exists and has endpoints"
)
_NAMES: Final[Mapping[int, str]] = {
    socket.EAI_NONAME: _NO_SUCH_HOST,
    socket.EAI_NODATA: _NO_SUCH_HOST,
    socket.EAI_AGAIN: _DNS_IS_AWAY,
    socket.EAI_FAIL: _DNS_IS_AWAY,
    socket.EAI_ADDRFAMILY: "the host has no address of the kind (IPv4, IPv6) that the operator's Pod can reach: give"
    " the Service one",
}
NO_NAME: Final = (
    "the host in the broker URL cannot be a host name: between dots stand 1 to 63 letters, digits or -: correct it"
)
ENDED: Final = (
    "it ended the connection: check that it runs and was not restarted just now, and that no proxy or load balancer"
    " without a backend answers for it; a port with TLS needs rediss://, and a server that asks for client certificates"
    " spec.broker.tls.certificateFrom"
)
_NO_ROUTE: Final = "no route leads there from the operator's Pod: check the address, and the cluster's network"
_ERRORS: Final[Mapping[int, str]] = {
    errno.ECONNREFUSED: "nothing listens at this port: check that Redis runs and is ready, and that host, port and the"
    " Service's targetPort are right",
    errno.ENETUNREACH: _NO_ROUTE,
    errno.EHOSTUNREACH: _NO_ROUTE,
    errno.EHOSTDOWN: _NO_ROUTE,
    errno.ETIMEDOUT: "nobody answers at this address: check it, and that a network policy or firewall lets the operator"
    " in",
    errno.ECONNRESET: ENDED,
    errno.ECONNABORTED: ENDED,
    errno.EPIPE: ENDED,
    errno.ENOENT: "there is no such socket in the operator's Pod: the operator reads the queues too, so give"
    " spec.broker a Redis that it reaches by the network",
    errno.EACCES: "the operator may not open this socket: give it the permission, or a Redis that it reaches by the"
    " network",
    errno.EPERM: "the operator's Pod is not allowed to connect there: check the network policies of its namespace",
    errno.EADDRNOTAVAIL: "this is no address that can be dialled, or the operator's Pod is out of ports: correct the"
    " host in the broker URL",
    errno.EMFILE: "the operator has no file descriptor left: raise its limit of open files",
}

CONNECT_TIMEOUT: Final = (
    "no connection came about in time: check the address, and that a network policy or firewall lets the operator in"
)
SILENT: Final = (
    "it did not answer in time: check that it is neither overloaded nor stopped, and that rediss:// names a port with"
    " TLS (a plain one stays silent), redis:// one without"
)


def network_doubt(causes: Iterable[BaseException], where: str) -> BrokerDoubt:
    """The doubt for a connection that failed, by the first of its causes that says why."""
    cure = next((cure for cause in causes if (cure := _cure(cause))), ENDED)
    return BrokerDoubt(Reason.BROKER_CONNECTION_FAILED, f"{where}: {cure}")


def timeout_doubt(error: BaseException, where: str) -> BrokerDoubt:
    """The doubt for a time that is over."""
    cure = CONNECT_TIMEOUT if "connecting" in str(error) else SILENT
    return BrokerDoubt(Reason.BROKER_TIMEOUT, f"{where}: {cure}")


def _cure(cause: BaseException) -> str | None:
    if isinstance(cause, UnicodeError):
        return NO_NAME
    if isinstance(cause, socket.gaierror):
        return _NAMES.get(cause.errno or socket.EAI_NONAME, _NO_SUCH_HOST)
    if isinstance(cause, OSError):
        return _ERRORS.get(_number(cause) or 0)
    return None


def _number(error: OSError) -> int | None:
    """The errno; asyncio writes those of a host with several addresses into the text only."""
    several = re.search(r"\[Errno (\d+)\]", str(error))
    return error.errno or (int(several[1]) if several else None)
