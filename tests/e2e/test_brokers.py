"""Ways to reach a broker that operator and worker must take alike."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.servers import TLS_DIR, server
from tests.e2e.story import PATIENCE, Story, forwarded
from tests.e2e.tasks import Tasks
from tests.integration.redis_server import make_tls_files

pytestmark = [pytest.mark.e2e, pytest.mark.full]

ACL = (
    *("--user", "celery", "on", ">open-sesame", "~*", "&*", "+@all", "-@dangerous", "+info"),
    *("--user", "default", "off"),
)
TLS = (
    *("--port", "0", "--tls-port", "6379", "--tls-auth-clients", "no"),
    *("--tls-ca-cert-file", f"{TLS_DIR}/ca.crt"),
    *("--tls-cert-file", f"{TLS_DIR}/tls.crt", "--tls-key-file", f"{TLS_DIR}/tls.key"),
)
SENTINEL_APP = """\
from celery_app import app

app.conf.broker_transport_options = {**app.conf.broker_transport_options, "master_name": "mymaster"}
"""


def start(story: Story, name: str, command: tuple[str, ...], port: int, tls_secret: str | None = None) -> None:
    """Start a server and wait until it listens."""
    story.kubectl("apply", "--filename=-", stdin=json.dumps(server(name, command, port, tls_secret=tls_secret)))
    story.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={PATIENCE:.0f}s")


def test_a_user_with_a_password_over_tls_with_an_authority_of_its_own(shared: Story, tmp_path: Path) -> None:
    host = f"secure.{shared.namespace}"
    files = make_tls_files(tmp_path, host)
    secret = {
        "ca.crt": files.ca.read_text(),
        "tls.crt": files.certificate.read_text(),
        "tls.key": files.key.read_text(),
    }
    shared.kube.create_secret("tls", **secret)
    shared.kube.create_secret("secure", url=f"rediss://celery:open-sesame@{host}:6379/0")
    start(shared, "secure", ("redis-server", "--save", "", "--dir", "/tmp", *TLS, *ACL), 6379, tls_secret="tls")

    broker = {
        "urlFrom": {"secretKeyRef": {"name": "secure", "key": "url"}},
        "tls": {"caFrom": {"secretKeyRef": {"name": "tls", "key": "ca.crt"}}},
    }
    shared.pool("guests", ["guests"], broker=broker)
    with forwarded(shared.cluster, shared.namespace, "deployment/secure", 6379) as port:
        trust = f"ssl_cert_reqs=required&ssl_ca_certs={quote(str(files.ca))}"
        tasks = Tasks(f"rediss://celery:open-sesame@127.0.0.1:{port}/0?{trust}")
        tasks.send("celery", 2, seconds=0.1, to="guests")
        tasks.wait_until_done(seconds=PATIENCE)
        shared.wait_for_zero("guests")
        assert tasks.problems() == []


def test_sentinels_lead_operator_and_workers_to_the_master(shared: Story) -> None:
    master = f"sentinel resolve-hostnames yes\nsentinel monitor mymaster redis.{shared.namespace} 6379 1\n"
    script = f"printf '{master}' > /tmp/sentinel.conf && exec redis-server /tmp/sentinel.conf --sentinel"
    start(shared, "sentinel", ("sh", "-c", f"{script} --protected-mode no"), 26379)
    shared.kubectl("create", "configmap", "app", f"--from-literal=sentinel_app.py={SENTINEL_APP}")

    variables = {"PYTHONPATH": "/app", "LEDGER_URL": shared.broker_url, "CELERY_RESULT_BACKEND": shared.broker_url}
    template = {
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "workingDir": "/sentinel",
        "volumes": [{"name": "app", "configMap": {"name": "app"}}],
        "volumeMounts": [{"name": "app", "mountPath": "/sentinel"}],
    }
    broker = {"url": f"sentinel://sentinel.{shared.namespace}:26379/0", "sentinelMaster": "mymaster"}
    shared.pool("followers", ["followers"], app="sentinel_app", broker=broker, template=template)
    shared.tasks.send("celery", 2, seconds=0.1, to="followers")
    shared.tasks.wait_until_done(seconds=PATIENCE)
    shared.wait_for_zero("followers")
    assert shared.tasks.problems() == []
