"""HTTP to one API server: credentials, timeouts, the fence of the Lease, and every failure as an ApiError.

It takes the configuration of `kubernetes.aio` and exchanges plain dicts. The typed APIs and their models would cost 140
MiB of memory and 1.3 s at start (measured with kubernetes 37.0.1); what is taken costs 6 MiB.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack
from urllib.parse import urlsplit

import aiohttp
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

from celeriac.cluster.errors import ApiError, BadConfiguration, NotHolder, Unavailable, error_from_response
from celeriac.cluster.paths import LEASES, SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from celeriac.cluster.slots import READS, Slots, rank_of
from celeriac.cluster.wire import Payload, Wire

JSON: Final = "application/json"
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
APPLY_PATCH: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"

_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "apply": "PATCH",
    "delete": "DELETE",
}
_LEASES: Final = LEASES.plural
_UNFENCED: Final = frozenset({_LEASES, TOKEN_REVIEWS.plural, SUBJECT_ACCESS_REVIEWS.plural})
"""What a replica may create without the Lease: reviews change nothing."""

_load_incluster_config: Final[Any] = load_incluster_config  # untyped
_load_kube_config: Final[Any] = load_kube_config


class Options(TypedDict, total=False):
    """What a request may say beside its path; see `Connection.answer`."""

    query: Mapping[str, str] | None
    body: Payload | None
    content_type: str
    accept: str
    timeout_seconds: float | None


OnRequest = Callable[[str, str, int, float], None]
"""Called after each request with its verb, its resource (deployments, deployments/scale), the HTTP status (0: no
answer) and the seconds it took."""


def _ignore_request(verb: str, resource: str, status: int, seconds: float) -> None:
    """Count nothing."""


def _send_always() -> None:
    """Reads need no Lease."""


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
        self._slots = Slots()
        self._configuration = Configuration()
        self._wire: Wire

    async def open(self) -> None:
        """Read the credentials. Raises BadConfiguration; asks the API server nothing."""
        await self._load_credentials()
        try:
            self._wire = Wire(self._configuration, self.timeout_seconds)
        except OSError as error:  # a CA or client certificate that cannot be read; ssl.SSLError is one
            raise BadConfiguration(0, "BadConfiguration", f"cannot use the certificates: {error}") from error

    def hosts(self) -> frozenset[str]:
        """The API server's, as the credentials name it, and as every Pod knows it."""
        named = urlsplit(str(self._configuration.host)).hostname
        return frozenset(host for host in (named, os.environ.get("KUBERNETES_SERVICE_HOST")) if host)

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def request(self, verb: str, resource: str, path: str, **options: Unpack[Options]) -> dict[str, Any]:
        """Ask once and return the decoded answer; see `answer`."""
        return _decode(await self.answer(verb, resource, path, **options))

    async def answer(
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
    ) -> bytes:
        """Ask once and return the answer; `verb` and `resource` are Kubernetes' own words, for the metrics.

        Raises ApiError, within the timeout from when it is sent; before, it may wait for others that go first. A 401
        is tried once more with credentials read anew: exec plug-ins' tokens expire.
        """
        timeout = timeout_seconds or self.timeout_seconds
        headers = {"Accept": accept, "Content-Type": content_type}
        check = partial(self._check_fence, verb, resource)
        send = partial(self._wire.send, _METHODS[verb], path, query, headers, body, timeout, check)
        async with self._slot(verb, resource):
            check()
            started, status = time.monotonic(), 0
            try:
                status, answer = await send()
                if status == HTTPStatus.UNAUTHORIZED:
                    await self._load_credentials()
                    status, answer = await send()
            except TimeoutError as error:
                raise Unavailable(0, "Timeout", f"no answer from the API server within {timeout:g} s") from error
            except (aiohttp.ClientError, OSError) as error:
                raise Unavailable(0, "ConnectionFailed", str(error) or type(error).__name__) from error
            finally:
                self._on_request(verb, resource, status, time.monotonic() - started)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise error_from_response(status, answer)
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, head_seconds: float, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """An answer that goes on for minutes; it takes no other request's place. Raises ApiError, while it is read too.

        `head_seconds` is how long its head may take.
        """
        ask = partial(self._wire.open, "GET", path, query, {"Accept": JSON}, None, limits, _send_always)
        try:
            async with asyncio.timeout(head_seconds):
                answer = await ask()
                if answer.status == HTTPStatus.UNAUTHORIZED:
                    answer.close()
                    await self._load_credentials()
                    answer = await ask()
            async with answer:
                if answer.status != HTTPStatus.OK:
                    raise error_from_response(answer.status, await answer.read())
                yield answer.content
        except TimeoutError as error:
            raise Unavailable(0, "Timeout", "the API server fell silent") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(0, "ConnectionFailed", str(error) or type(error).__name__) from error

    def _slot(self, verb: str, resource: str) -> AbstractAsyncContextManager[None]:
        """The right to one request; who waits for it has sent nothing."""
        return nullcontext() if resource == _LEASES else self._slots.slot(rank_of(verb, resource))

    async def _load_credentials(self) -> None:
        """Fill the configuration from the kubeconfig, else from the Pod's service account.

        The service account's token is a file that the kubelet replaces about once an hour; the loader's own hook
        reads it again every minute.
        """
        configuration = self._configuration
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
        if self.fence is None or verb in READS or resource in _UNFENCED or self.fence():
            return
        raise NotHolder(0, "NotHolder", f"{verb} of {resource} was not sent: this operator does not hold its Lease")


def _check_exists(kubeconfig: str) -> None:
    """Raise FileNotFoundError unless one file of the list exists; the loader would miss a field of it instead."""
    if not any(Path(path).expanduser().exists() for path in kubeconfig.split(os.pathsep)):
        raise FileNotFoundError("no such file")


def _decode(answer: bytes) -> dict[str, Any]:
    """The JSON object of a successful answer."""
    try:
        decoded = json.loads(answer)
    except ValueError as error:
        raise ApiError(HTTPStatus.OK, "InvalidAnswer", f"the API server sent no JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise ApiError(HTTPStatus.OK, "InvalidAnswer", "the API server sent no JSON object")
    return decoded
