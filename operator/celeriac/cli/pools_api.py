"""The CeleryWorkerPools of a cluster, for the kubectl plugin; every failure is a message with its cure."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

import click
from kubernetes import config
from kubernetes.client import ApiException, CustomObjectsApi
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from celeriac.api.names import GROUP, PLURAL, POOL_LABEL, VERSION
from celeriac.cli.words import event_time

MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "kubectl-celery"
TIMEOUT_SECONDS = 15
FOLLOW_SECONDS = 24 * 3600.0


Bodies = list[dict[str, Any]]

# Without types in the library.
_contexts: Any = config.list_kube_config_contexts
_load_incluster_config: Any = config.load_incluster_config
_client_from_config: Any = config.new_client_from_config


class Answer(NamedTuple):
    """The HTTP status, the body (empty where it was refused), and when, by the API server's clock."""

    status: int
    body: dict[str, Any]
    moment: datetime


class Refusal(click.ClickException):
    """What the API server refuses, with its status."""

    def __init__(self, status: int, body: str | bytes | None) -> None:
        self.status = status
        self.words = _words(status, body)
        super().__init__(f"the API server refuses: {self.words}")


class Pools:
    """Reads and patches CeleryWorkerPools where kubectl would: KUBECONFIG, its context, that context's namespace."""

    def __init__(self, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        try:
            self._api, self.namespace = _connect(kubeconfig, context)
        except (ConfigException, OSError) as error:
            cure = "name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with --context"
            raise click.ClickException(f"no cluster to ask: {error}: {cure}") from error
        self.namespace = namespace or self.namespace

    def list(self, *, all_namespaces: bool, selector: str = "") -> list[dict[str, Any]]:
        """All pools of the namespace, or of the cluster, that carry the labels."""
        path = {"group": GROUP, "version": VERSION, "plural": PLURAL, "label_selector": selector}
        if all_namespaces:
            answer = _ask(lambda: self._api.list_cluster_custom_object(**path, _request_timeout=TIMEOUT_SECONDS))
        else:
            answer = _ask(
                lambda: self._api.list_namespaced_custom_object(
                    **path, namespace=self.namespace, _request_timeout=TIMEOUT_SECONDS
                )
            )
        pools: list[dict[str, Any]] = answer["items"]
        return pools

    def none(self, *, all_namespaces: bool, selector: str) -> str:
        """What is said where `list` finds nothing."""
        which = f" with the labels {selector}" if selector else ""
        place = "this cluster" if all_namespaces else f"namespace {self.namespace} (-A looks in all)"
        return f"no CeleryWorkerPool{which} in {place}"

    def get(self, name: str) -> dict[str, Any]:
        """One pool."""
        return _ask(lambda: self._api.get_namespaced_custom_object(**self._path(name)))

    def pods(self, pool: dict[str, Any] | None = None) -> Bodies:
        """The workers of a pool, or of all pools of the namespace."""
        selector = POOL_LABEL if pool is None else f"{POOL_LABEL}={pool['metadata']['name']}"
        namespace = self.namespace if pool is None else pool["metadata"]["namespace"]
        found: Bodies = self.do("GET", f"/api/v1/namespaces/{namespace}/pods?{urlencode({'labelSelector': selector})}")[
            "items"
        ]
        return found

    def namespaces(self) -> Iterator[str]:
        """Their names, all of the cluster."""
        for each in self.do("GET", "/api/v1/namespaces")["items"]:
            yield each["metadata"]["name"]

    def events(self, pool: dict[str, Any]) -> Bodies:
        """What happened to a pool lately, the latest last; nothing where events may not be read."""
        metadata = pool["metadata"]
        query = urlencode({"fieldSelector": f"involvedObject.uid={metadata['uid']}"})
        answer = self.ask(f"/api/v1/namespaces/{metadata['namespace']}/events?{query}")
        return sorted(answer.body.get("items", ()), key=event_time)

    def patch(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Change fields of a pool's spec; None removes one (JSON merge patch). Returns the changed pool."""
        return _ask(
            lambda: self._api.patch_namespaced_custom_object(
                **self._path(name), body={"spec": spec}, field_manager=FIELD_MANAGER, _content_type=MERGE_PATCH
            )
        )

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Answer:
        """What the API server answers to a GET of a path, or to a POST of `body`; a refusal is an answer too."""
        try:
            response = self.open("GET" if body is None else "POST", path, body)
            text = response.read()
        except ApiException as error:
            return Answer(error.status or 0, {}, _moment(error.headers or {}))
        except (HTTPError, OSError) as error:
            raise no_answer(error) from error
        accepted = response.status < HTTPStatus.MULTIPLE_CHOICES
        return Answer(response.status, json.loads(text) if accepted else {}, _moment(response.headers))

    def do(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do it, or say what the API server has against it. A PATCH is a JSON merge patch."""
        try:
            response = self.open(method, path, body)
            text = response.read()
        except ApiException as error:
            raise Refusal(error.status or 0, error.body) from error
        except (HTTPError, OSError) as error:
            raise no_answer(error) from error
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise Refusal(response.status, text)
        found: dict[str, Any] = json.loads(text)
        return found

    def lines(self, path: str, *, follow: bool) -> Iterator[str]:
        """What a GET of a path answers, line by line as it comes; with `follow` it may be silent for a day."""
        try:
            response = self.open("GET", path, seconds=FOLLOW_SECONDS if follow else None)
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise Refusal(response.status, response.read())
            rest = b""
            for piece in response.response.stream(65536):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except ApiException as error:
            raise Refusal(error.status or 0, error.body) from error
        except (HTTPError, OSError) as error:
            raise no_answer(error) from error
        if rest:
            yield rest.decode(errors="replace")

    def open(self, method: str, path: str, body: dict[str, Any] | None = None, seconds: float | None = None) -> Any:
        """The answer to a request, which may be read while it comes. Raises what urllib3 raises.

        `seconds`: how long it may be silent; the usual time-out without it.
        """
        client: Any = self._api.api_client
        headers = {"Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        request = client.param_serialize(method, path, header_params=headers, body=body, auth_settings=["BearerToken"])
        return client.call_api(*request, _request_timeout=seconds or TIMEOUT_SECONDS)

    def _path(self, name: str) -> dict[str, Any]:
        return {
            "group": GROUP,
            "version": VERSION,
            "plural": PLURAL,
            "namespace": self.namespace,
            "name": name,
            "_request_timeout": TIMEOUT_SECONDS,
        }


def _connect(kubeconfig: str | None, context: str | None) -> tuple[Any, str]:
    """A client, and the namespace of the context. Without any kubeconfig: the service account of this Pod."""
    try:
        contexts, active = _contexts(kubeconfig)
    except ConfigException:
        if kubeconfig or context:
            raise
        try:
            _load_incluster_config()
        except ConfigException:
            raise ConfigException("there is no kubeconfig") from None
        return CustomObjectsApi(), "default"
    chosen = next((entry for entry in contexts if entry["name"] == context), active)
    client = _client_from_config(kubeconfig, context, persist_config=False)
    return CustomObjectsApi(client), chosen["context"].get("namespace") or "default"


def _ask(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = call()
    except ApiException as error:
        raise click.ClickException(_message(error.status or 0, error.body)) from error
    except (HTTPError, OSError) as error:
        raise no_answer(error) from error
    return answer


def no_answer(error: Exception) -> click.ClickException:
    """What is said where nobody answers."""
    return click.ClickException(f"the API server does not answer: {getattr(error, 'reason', error)}: is it up?")


def _moment(headers: Mapping[str, str]) -> datetime:
    """The time by the API server's clock; by our own where it does not tell."""
    told = headers.get("Date")
    return parsedate_to_datetime(told) if told else datetime.now(UTC)


def _status(body: str | bytes | None) -> dict[str, Any]:
    """The Status that a refusal comes with; empty where it is none."""
    try:
        found = json.loads(body or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _words(status: int, body: str | bytes | None) -> str:
    """What a refusal says of itself."""
    return _status(body).get("message") or HTTPStatus(status).phrase


def _message(status: int, body: str | bytes | None) -> str:
    """What a refusal means here. A 404 that is no Status, or names no object, is about the kind itself."""
    words = _words(status, body)
    if status == HTTPStatus.NOT_FOUND and (_status(body).get("details") or {}).get("name"):
        return f"{words}: see `kubectl celery list -A`"
    if status == HTTPStatus.NOT_FOUND:
        return (
            "this cluster knows no CeleryWorkerPool: install Celeriac's chart, or only its CRD (kubectl apply -f crds/)"
        )
    if status == HTTPStatus.FORBIDDEN and words.endswith("at the cluster scope"):
        return f"{words}: leave out -A, and name a namespace with -n, or ask for a ClusterRole with list on them"
    if status == HTTPStatus.FORBIDDEN:
        return f"{words}: ask for a Role with get, list and patch on {PLURAL}.{GROUP}"
    if status == HTTPStatus.UNAUTHORIZED:
        return f"the API server refuses your credentials ({words}): log in again"
    return f"the API server refuses: {words}"
