"""What only the operator knows, or can reach, is asked by a CeleryPoolRequest: made, waited for, and deleted."""

import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import click

from celeriac.api.names import API_VERSION, KIND, REQUEST_KIND, REQUESTS_PLURAL
from celeriac.cli.pools_api import Pools, Refusal

ANSWER_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.1
FORBIDDEN: Final = 403


class NoAnswer(click.ClickException):
    """Nobody answered, or the request could not be made: what the status of the pool says is all that there is."""


class Question:
    """One request, as a context manager; each `answer` asks anew."""

    def __init__(
        self, pools: Pools, action: str, pool: dict[str, Any] | None = None, *, namespace: str = "", **spec: Any
    ) -> None:
        """`pool`: the body of the one that it is about; the request goes with it. Else all of the `namespace`."""
        self._pools = pools
        namespace = namespace or pools.namespace if pool is None else pool["metadata"]["namespace"]
        self._path = f"/apis/{API_VERSION}/namespaces/{namespace}/{REQUESTS_PLURAL}"
        metadata: dict[str, Any] = {"generateName": "kubectl-celery-"}
        if pool is not None:
            spec["pool"] = pool["metadata"]["name"]
            owner = {"apiVersion": API_VERSION, "kind": KIND, "name": spec["pool"], "uid": pool["metadata"]["uid"]}
            metadata["ownerReferences"] = [owner]
        self._body = {"apiVersion": API_VERSION, "kind": REQUEST_KIND, "metadata": metadata}
        self._spec = {"action": action, **spec}
        self._name = ""
        self._round = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._name:
            with suppress(click.ClickException):  # the operator deletes it in a minute
                self._pools.do("DELETE", f"{self._path}/{self._name}")

    def answer(self) -> dict[str, Any]:
        """The status of the request once it is answered. Raises ClickException where it failed, NoAnswer for none."""
        self._round += 1
        spec = {**self._spec, "round": self._round}
        if self._name:
            self._pools.do("PATCH", f"{self._path}/{self._name}", {"spec": {"round": self._round}})
        else:
            self._name = self._made({**self._body, "spec": spec})
        end = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < end:
            status = self._pools.do("GET", f"{self._path}/{self._name}").get("status") or {}
            if status.get("round") == self._round:
                if status["phase"] != "Done":
                    raise click.ClickException(status["message"])
                found: dict[str, Any] = status
                return found
            time.sleep(LOOK_SECONDS)
        raise NoAnswer(f"no operator has answered within {ANSWER_SECONDS:.0f} s: `kubectl celery doctor` says why")

    def _made(self, body: dict[str, Any]) -> str:
        try:
            return str(self._pools.do("POST", self._path, body)["metadata"]["name"])
        except Refusal as refusal:
            if refusal.status == 404:
                cure = "this cluster knows no CeleryPoolRequest: install the chart anew, or kubectl apply -f crds/"
                raise NoAnswer(cure) from refusal
            if refusal.status == FORBIDDEN:
                raise NoAnswer(f"{refusal.words}: ask for the role edit in this namespace") from refusal
            raise


def ask(
    pools: Pools, action: str, pool: dict[str, Any] | None = None, *, namespace: str = "", **spec: Any
) -> dict[str, Any]:
    """Ask once; the status of the answered request."""
    with Question(pools, action, pool, namespace=namespace, **spec) as question:
        return question.answer()
