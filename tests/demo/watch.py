"""Follows the pools in the API server and the ledger in Redis, in threads; `Observer.snapshot` is the newest state."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from celery_app.ledger import Entry, account
from kubernetes import client, config, watch
from urllib3.exceptions import HTTPError

from tests.demo.live import Snapshot
from tests.demo.pools import DemoPool
from tests.demo.state import PoolState

WATCH_SECONDS = 300
RETRY_SECONDS = 1.0


class Observer:
    """Sees every change of the pools, so that no peak is missed; use it as a context manager.

    `ledger` is the command whose output is the run's ledger as lines of JSON (`celery_app.report RUN --json`).
    Should it or a watch end, it is started again; a ledger's entry that is read twice counts once.
    """

    def __init__(self, kubeconfig: Path, namespace: str, pools: Sequence[DemoPool], ledger: list[str]) -> None:
        self._api = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        self._namespace, self._pools, self._ledger = namespace, tuple(pools), ledger
        self._states = {pool.name: PoolState(pool.name) for pool in pools}
        self._entries: list[Entry] = []
        self._lengths: dict[str, int] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._ending = threading.Event()
        self._stream: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        for follow in (self._follow_pools, self._follow_deployments, self._follow_ledger):
            threading.Thread(target=self._again_and_again, args=(follow,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._stream:
            self._stream.kill()

    def snapshot(self) -> Snapshot:
        """The newest state of everything."""
        with self._lock:
            entries, lengths, states = list(self._entries), dict(self._lengths), dict(self._states)
        return Snapshot(self._pools, lengths, account(entries), states)

    def wait(self, seconds: float) -> None:
        """Until something has changed, `seconds` at most."""
        self._changed.wait(seconds)
        self._changed.clear()

    def _again_and_again(self, follow: Callable[[], None]) -> None:
        """A watch ends with its time, a rolling API server or a lost connection; the next one lists everything anew."""
        while not self._ending.is_set():
            with contextlib.suppress(client.ApiException, OSError, HTTPError):
                follow()
            self._ending.wait(RETRY_SECONDS)

    def _follow_pools(self) -> None:
        custom = client.CustomObjectsApi(self._api)
        kind = {"group": "celeriac.dev", "version": "v1alpha1", "plural": "celeryworkerpools"}
        self._follow(lambda state, pool: state.with_status(pool), custom.list_namespaced_custom_object, **kind)

    def _follow_deployments(self) -> None:
        deployments = client.AppsV1Api(self._api).list_namespaced_deployment
        self._follow(lambda state, deployment: state.with_deployment(deployment), deployments)

    def _follow(
        self, change: Callable[[PoolState, dict[str, Any]], PoolState], listing: Callable[..., Any], **kind: str
    ) -> None:
        options = {"namespace": self._namespace, "timeout_seconds": WATCH_SECONDS, **kind}
        for event in watch.Watch().stream(listing, **options):  # type: ignore[no-untyped-call]
            thing = event["raw_object"]
            name = thing["metadata"]["name"]
            with self._lock:
                if name in self._states:
                    self._states[name] = change(self._states[name], thing)
            self._changed.set()

    def _follow_ledger(self) -> None:
        with subprocess.Popen(self._ledger, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as stream:
            self._stream = stream
            assert stream.stdout is not None
            for text in stream.stdout:
                told = json.loads(text)
                with self._lock:
                    if "entry" in told:
                        self._entries.append(Entry.parse(told["entry"]))
                    self._lengths |= told.get("queues", {})
                self._changed.set()
