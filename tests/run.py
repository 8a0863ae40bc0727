"""`make run`: the operator from the checkout, against the cluster of the current kubectl context.

It says where it is about to act before it acts, and what is missing there. Arguments are those of `python -m celeriac`;
brokers on this machine are allowed.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

import kubernetes.client
import kubernetes.config
from kubernetes.client import ApiException
from kubernetes.config import ConfigException

from tests.dialers import ALLOWED

CRD = "celeryworkerpools.celeriac.dev"


def main(arguments: list[str]) -> None:
    """Become the operator, so that a signal reaches it."""
    kubeconfig = os.environ.setdefault("KUBECONFIG", str(Path.home() / ".kube" / "config"))
    try:
        _, current = kubernetes.config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
        client = kubernetes.config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        _end(f"no cluster to run against: {error}; set KUBECONFIG, or start a cluster: make cluster")
    server = client.configuration.host
    print(f"The operator acts on the cluster of context {current['name']!r}, at {server}. Ctrl-C ends it.", flush=True)
    _require_crd(client, server)
    os.execv(sys.executable, [sys.executable, "-m", "celeriac", *ALLOWED, *arguments])


def _require_crd(client: kubernetes.client.ApiClient, server: str) -> None:
    """End where the API server is not to be had; a missing CRD is told, and the operator waits for it."""
    try:
        kubernetes.client.ApiextensionsV1Api(client).read_custom_resource_definition(CRD, _request_timeout=10)
    except ApiException as error:
        if error.status == 404:
            print("Its API is not installed there yet: kubectl apply -f crds/", flush=True)
        elif error.status == 401:
            _end(f"{server} refuses the credentials of this context")
    except Exception as error:
        _end(f"{server} cannot be reached: {type(error).__name__}; is the cluster up?")


def _end(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
