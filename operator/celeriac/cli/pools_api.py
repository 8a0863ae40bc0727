"""The CeleryWorkerPools of a cluster, for the kubectl plugin; every failure is a message with its cure."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import click
from kubernetes import config
from kubernetes.client import ApiException, CustomObjectsApi
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from celeriac.api.names import GROUP, PLURAL, VERSION

MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "kubectl-celery"
TIMEOUT_SECONDS = 15


# Without types in the library.
_contexts: Any = config.list_kube_config_contexts
_load_incluster_config: Any = config.load_incluster_config
_client_from_config: Any = config.new_client_from_config


class Answer(NamedTuple):
    """The HTTP status, the body (empty where it was refused), and when, by the API server's clock."""

    status: int
    body: dict[str, Any]
    moment: datetime


class Pools:
    """Reads and patches CeleryWorkerPools where kubectl would: KUBECONFIG, its context, that context's namespace."""

    def __init__(self, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        try:
            self._api, self.namespace = _connect(kubeconfig, context)
        except (ConfigException, OSError) as error:
            cure = "name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with --context"
            raise click.ClickException(f"no cluster to ask: {error}: {cure}") from error
        self.namespace = namespace or self.namespace

    def list(self, *, all_namespaces: bool) -> list[dict[str, Any]]:
        """All pools of the namespace, or of the cluster."""
        path = {"group": GROUP, "version": VERSION, "plural": PLURAL}
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

    def get(self, name: str) -> dict[str, Any]:
        """One pool."""
        return _ask(lambda: self._api.get_namespaced_custom_object(**self._path(name)))

    def patch(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Change fields of a pool's spec; None removes one (JSON merge patch). Returns the changed pool."""
        return _ask(
            lambda: self._api.patch_namespaced_custom_object(
                **self._path(name), body={"spec": spec}, field_manager=FIELD_MANAGER, _content_type=MERGE_PATCH
            )
        )

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Answer:
        """What the API server answers to a GET of a path, or to a POST of `body`; a refusal is an answer too."""
        client: Any = self._api.api_client
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
        request = client.param_serialize(
            "GET" if body is None else "POST", path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = client.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
            text = response.read()
        except ApiException as error:
            return Answer(error.status or 0, {}, datetime.now(UTC))
        except (HTTPError, OSError) as error:
            raise _no_answer(error) from error
        accepted = response.status < HTTPStatus.MULTIPLE_CHOICES
        return Answer(response.status, json.loads(text) if accepted else {}, _moment(response.headers))

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
        raise _no_answer(error) from error
    return answer


def _no_answer(error: Exception) -> click.ClickException:
    return click.ClickException(f"the API server does not answer: {getattr(error, 'reason', error)}: is it up?")


def _moment(headers: Mapping[str, str]) -> datetime:
    """The time by the API server's clock; by our own where it does not tell."""
    told = headers.get("Date")
    return parsedate_to_datetime(told) if told else datetime.now(UTC)


def _message(status: int, body: str | bytes | None) -> str:
    """What a refusal means here. A 404 that is no Status, or names no object, is about the kind itself."""
    try:
        answer = json.loads(body or "")
    except ValueError:
        answer = {}
    words = answer.get("message") or HTTPStatus(status).phrase
    if status == HTTPStatus.NOT_FOUND and (answer.get("details") or {}).get("name"):
        return f"{words}: see `kubectl celery list -A`"
    if status == HTTPStatus.NOT_FOUND:
        return (
            "this cluster knows no CeleryWorkerPool: install Celeriac's chart, or only its CRD (kubectl apply -f crds/)"
        )
    if status == HTTPStatus.FORBIDDEN:
        return f"{words}: ask for a Role with get, list and patch on {PLURAL}.{GROUP}"
    if status == HTTPStatus.UNAUTHORIZED:
        return f"the API server refuses your credentials ({words}): log in again"
    return f"the API server refuses: {words}"
