"""HTTP to one API server: credentials, timeouts, the fence of the Lease, and every failure as an ApiError.

It stands on the low-level `ApiClient` of `kubernetes.aio` and exchanges plain dicts. The typed APIs and their models
would cost 140 MiB of memory and 1.3 s at start (measured with kubernetes 37.0.1); the low-level client costs 6 MiB.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import yaml
from aiohttp.abc import AbstractStreamWriter
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

from celeriac import __version__
from celeriac.cluster.errors import ApiError, BadConfiguration, NotHolder, Unavailable, error_from_response
from celeriac.cluster.paths import LEASES, SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS

JSON: Final = "application/json"
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
APPLY_PATCH: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"

REQUESTS_AT_ONCE: Final = 32
"""Requests under way, the Lease's own aside; further ones wait. A herd of them (a thousand Secrets when the operator
starts) fills neither the event loop nor the API server's queue, and never takes the connection of a renewal."""
READ_BYTES: Final = 2**21
"""Of an answer that are read ahead."""
_LEASE_CONNECTIONS: Final = 2  # a renewal, and one given up whose connection is not closed yet

_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "apply": "PATCH",
    "delete": "DELETE",
}
_READS: Final = frozenset({"get", "list"})
_LEASES: Final = LEASES.plural
_UNFENCED: Final = frozenset({_LEASES, TOKEN_REVIEWS.plural, SUBJECT_ACCESS_REVIEWS.plural})
"""What a replica may create without the Lease: reviews change nothing."""

_load_incluster_config: Final[Any] = load_incluster_config  # untyped
_load_kube_config: Final[Any] = load_kube_config

_may_be_sent: ContextVar[Callable[[], None]] = ContextVar("may_be_sent")
"""Raises NotHolder where the request under way must not be sent (any more)."""

Payload = Mapping[str, Any] | Sequence[Mapping[str, Any]]
OnRequest = Callable[[str, str, int, float], None]
"""Called after each request with its verb, its resource (deployments, deployments/scale), the HTTP status (0: no
answer) and the seconds it took."""


def _ignore_request(verb: str, resource: str, status: int, seconds: float) -> None:
    """Count nothing."""


class Connection:
    """One API server and the credentials for it.

    `fence` stops every write but the Lease's own while it returns False: so a replica of the operator that has lost
    its Lease cannot write, whatever its tasks were doing at that moment. A request of the Lease waits for no other.
    """

    def __init__(self, kubeconfig: str | None, timeout_seconds: float, on_request: OnRequest | None) -> None:
        self.timeout_seconds = timeout_seconds
        self.fence: Callable[[], bool] | None = None
        self._kubeconfig = kubeconfig or os.environ.get("KUBECONFIG") or None
        self._on_request = on_request or _ignore_request
        self._slots = asyncio.Semaphore(REQUESTS_AT_ONCE)
        self._client: Any = None

    async def open(self) -> None:
        """Read the credentials. Raises BadConfiguration; asks the API server nothing."""
        configuration = Configuration()
        configuration.connection_pool_maxsize = REQUESTS_AT_ONCE + _LEASE_CONNECTIONS
        await self._load_credentials(configuration)
        try:
            self._client = ApiClient(configuration)
        except OSError as error:  # a CA or client certificate that cannot be read; ssl.SSLError is one
            raise BadConfiguration(0, "BadConfiguration", f"cannot use the certificates: {error}") from error
        self._client.rest_client = _Rest(configuration, self.timeout_seconds)
        self._client.user_agent = f"celeriac/{__version__}"

    def hosts(self) -> frozenset[str]:
        """The API server's, as the credentials name it, and as every Pod knows it."""
        named = urlsplit(str(self._client.configuration.host)).hostname
        return frozenset(host for host in (named, os.environ.get("KUBERNETES_SERVICE_HOST")) if host)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def request(
        self,
        verb: str,
        resource: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Payload | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Ask once and return the decoded answer; `verb` and `resource` are Kubernetes' own words, for the metrics.

        Raises ApiError: within twice the timeout, since the request may have to wait for others first. A 401 is tried
        once more with credentials read anew: exec plug-ins' tokens expire.
        """
        call = (_METHODS[verb], path, list((query or {}).items()), body, content_type, accept)
        timeout = timeout_seconds or self.timeout_seconds
        _may_be_sent.set(partial(self._check_fence, verb, resource))
        async with self._slot(resource, timeout):
            self._check_fence(verb, resource)
            started, status = time.monotonic(), 0
            try:
                status, answer = await self._send(*call, timeout)
                if status == HTTPStatus.UNAUTHORIZED:
                    await self._load_credentials(self._client.configuration)
                    status, answer = await self._send(*call, timeout)
            except TimeoutError as error:
                raise Unavailable(0, "Timeout", f"no answer from the API server within {timeout:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                raise Unavailable(0, "ConnectionFailed", str(error) or type(error).__name__) from error
            finally:
                self._on_request(verb, resource, status, time.monotonic() - started)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise error_from_response(status, answer)
        return _decode(status, answer)

    @asynccontextmanager
    async def _slot(self, resource: str, timeout_seconds: float) -> AsyncIterator[None]:
        """The right to one request. Bounded, because what a caller has decided grows old while it waits."""
        if resource == _LEASES:
            yield
            return
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            message = f"not sent: {REQUESTS_AT_ONCE} earlier requests had no answer for {timeout_seconds:g} s"
            raise Unavailable(0, "Timeout", message) from error
        try:
            yield
        finally:
            self._slots.release()

    async def _send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: Payload | None,
        content_type: str,
        accept: str,
        timeout_seconds: float,
    ) -> tuple[int, bytes]:
        """One HTTP request: status and raw body."""
        headers = {"Accept": accept, "Content-Type": content_type}
        call = await self._client.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        response = await self._client.call_api(*call, _request_timeout=timeout_seconds)
        return response.status, await response.read()

    async def _load_credentials(self, configuration: Any) -> None:
        """Fill `configuration` from the kubeconfig, else from the Pod's service account.

        The service account's token is a file that the kubelet replaces about once an hour; the loader's own hook
        reads it again every minute.
        """
        try:
            if self._kubeconfig:
                _check_exists(self._kubeconfig)
                await _load_kube_config(self._kubeconfig, client_configuration=configuration, persist_config=False)
            else:
                _load_incluster_config(configuration)
        except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            source = f"kubeconfig {self._kubeconfig}" if self._kubeconfig else "service account of this Pod"
            hint = "" if self._kubeconfig else "; outside a cluster name a kubeconfig, or set KUBECONFIG"
            message = f"cannot use the {source}: {str(error).rstrip('.')}{hint}"
            raise BadConfiguration(0, "BadConfiguration", message) from error

    def _check_fence(self, verb: str, resource: str) -> None:
        """Raise NotHolder for a write that only the holder of the Lease may do."""
        if self.fence is None or verb in _READS or resource in _UNFENCED or self.fence():
            return
        raise NotHolder(0, "NotHolder", f"{verb} of {resource} was not sent: this operator does not hold its Lease")


class _Rest(RESTClientObject):
    """The client's own HTTP, on sockets that give up what was not delivered in time.

    A request that is given up would be delivered all the same once a network heals, minutes later: the kernel goes on
    with what it took, also after the connection was closed. By then another operator acts.
    """

    def __init__(self, configuration: Configuration, seconds: float) -> None:
        super().__init__(configuration)
        self._milliseconds = int(seconds * 1000)

    def _create_pool_manager(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._create_connector(), request_class=_Request, trust_env=True, read_bufsize=READ_BYTES
        )

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=self._socket)

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._milliseconds)
        return made


class _Request(aiohttp.ClientRequest):
    """Asks once more whether it may be sent, when there is a connection and nothing but the socket comes next.

    To look up credentials and to connect take milliseconds. A process that is stopped meanwhile goes on when another
    acts.
    """

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        _may_be_sent.get()()
        return await super().send(conn)

    async def write_bytes(self, writer: AbstractStreamWriter, conn: Any, content_length: int | None = None) -> None:
        """In a task of its own, which sends what has a body."""
        try:
            _may_be_sent.get()()
        except NotHolder as error:
            if conn.protocol is not None:  # nobody waits any more
                conn.protocol.set_exception(error)
        else:
            await super().write_bytes(writer, conn, content_length)


def _check_exists(kubeconfig: str) -> None:
    """Raise FileNotFoundError unless one file of the list exists; the loader would miss a field of it instead."""
    if not any(Path(path).expanduser().exists() for path in kubeconfig.split(os.pathsep)):
        raise FileNotFoundError("no such file")


def _decode(status: int, answer: bytes) -> dict[str, Any]:
    """The JSON object of a successful answer."""
    try:
        decoded = json.loads(answer)
    except ValueError as error:
        raise ApiError(status, "InvalidAnswer", f"the API server sent no JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise ApiError(status, "InvalidAnswer", "the API server sent no JSON object")
    return decoded
