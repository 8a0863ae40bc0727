"""The chart on a real API server: what Helm installs is accepted, and goes as it came."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from celeriac.__main__ import main
from tests.cluster.control_plane import ControlPlane
from tests.integration.crds import wait_established
from tests.integration.helm import CHART, CRD, RELEASE, SYSTEM, Helm, Install

pytestmark = pytest.mark.integration

EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "image": {"repository": "registry.example/celeriac", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "fullnameOverride": "celery-operator",
    "watchNamespaces": ["shop", "billing"],
    "tickSeconds": 2,
    "healthPort": 9091,
    "brokers": {
        "allowed": ["redis.shop", "*.cache.example.com:6380", "10.1.0.0/16", "[fd00::7]:6379"],
        "allowAddresses": ["169.254.7.0/24", "::1/128"],
        "allowUnixSockets": True,
    },
    "poolSelector": "team in (shop, billing),!legacy",
    "log": {"level": "DEBUG", "format": "json"},
    "crds": {"keep": False},
    "serviceAccount": {"name": "robot", "annotations": {"example.com/role": "celery"}},
    "metrics": {
        "port": 9090,
        "tls": {"secretName": "metrics-tls"},
        "authentication": True,
        "service": {"annotations": {"example.com/scrape": "yes"}},
        "serviceMonitor": {
            "enabled": True,
            "interval": "30s",
            "labels": {"release": "prometheus"},
            "tlsConfig": {"serverName": "celeriac"},
        },
    },
    "prometheusRule": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "alertLabels": {"team": "queues"},
        "disabled": ["CeleriacAgentDegraded"],
        "runbookUrl": "https://docs.example.com/runbooks/",
        "thresholds": {"waitFactor": 3.5, "drainSeconds": 14400},
    },
    "dashboards": {"annotations": {"grafana_folder": "Celery"}},
    "podDisruptionBudget": {"maxUnavailable": "50%"},
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {"matchLabels": {"team": "metrics"}}}]},
    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
    "priorityClassName": "high",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "infra", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "podLabels": {"team": "queues"},
    "podAnnotations": {"example.com/note": "hello"},
    "env": {"HTTPS_PROXY": "http://proxy:3128", "NODE": {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}},
}


def kinds(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def operator_pod(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = kinds(manifests, "Deployment")
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_lint_has_nothing_to_say(helm: Helm, values: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(CHART), values=values)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("apply", ["--server-side", "--validate=strict"])
def test_the_api_server_takes_every_manifest_without_a_warning(
    helm: Helm, chart_cluster: ControlPlane, values: dict[str, Any], apply: str
) -> None:
    manifests = [m for m in helm.template(values) if m["kind"] not in ("ServiceMonitor", "PrometheusRule")]
    assert len(manifests) >= 10
    said = chart_cluster.kubectl(
        "apply", apply, "--dry-run=server", "--warnings-as-errors", "-f", "-", stdin=yaml.safe_dump_all(manifests)
    )
    assert said.count("(server dry run)") == len(manifests)


def test_the_operators_pod_meets_the_restricted_standard(helm: Helm, chart_cluster: ControlPlane) -> None:
    chart_cluster.kubectl("label", "--overwrite", "namespace", "other", "pod-security.kubernetes.io/enforce=restricted")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": "other"}}
    spec = operator_pod(helm.template({})) | {"serviceAccountName": "default"}
    said = chart_cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod | {"spec": spec}))
    assert said.strip() == "pod/operator created (server dry run)"


def test_every_value_reaches_the_manifests(helm: Helm) -> None:
    manifests = helm.template(EVERYTHING)
    container = operator_pod(manifests)["containers"][0]
    assert container["image"] == "registry.example/celeriac@sha256:" + "0" * 64
    assert container["args"] == [
        "--watch-namespace=shop",
        "--watch-namespace=billing",
        "--pool-selector=team in (shop, billing),!legacy",
        "--tick-seconds=2",
        "--allowed-broker=redis.shop",
        "--allowed-broker=*.cache.example.com:6380",
        "--allowed-broker=10.1.0.0/16",
        "--allowed-broker=[fd00::7]:6379",
        "--allow-broker-address=169.254.7.0/24",
        "--allow-broker-address=::1/128",
        "--allow-unix-sockets",
        f"--lease-namespace={SYSTEM}",
        "--lease-name=celery-operator",
        "--metrics-port=9090",
        "--health-port=9091",
        "--metrics-certificate=/etc/celeriac/metrics/tls.crt",
        "--metrics-key=/etc/celeriac/metrics/tls.key",
        "--metrics-auth",
        "--task-names=50",
        "--log-level=DEBUG",
        "--log-format=json",
    ]
    assert [variable["name"] for variable in container["env"]] == ["POD_NAME", "HTTPS_PROXY", "NODE"]
    assert operator_pod(manifests)["serviceAccountName"] == "robot"
    (constraint,) = operator_pod(manifests)["topologySpreadConstraints"]
    assert constraint["labelSelector"] == kinds(manifests, "Deployment")[0]["spec"]["selector"]
    assert kinds(manifests, "PodDisruptionBudget")[0]["spec"]["maxUnavailable"] == "50%"
    assert kinds(manifests, "ServiceMonitor")[0]["metadata"]["labels"]["release"] == "prometheus"
    assert kinds(manifests, "ServiceMonitor")[0]["spec"]["endpoints"][0]["honorLabels"] is True
    assert kinds(manifests, "ConfigMap")[0]["metadata"]["annotations"] == {"grafana_folder": "Celery"}
    assert "annotations" not in kinds(manifests, "CustomResourceDefinition")[0]["metadata"]


def test_one_replica_gets_no_disruption_budget_that_would_block_a_drain(helm: Helm) -> None:
    assert kinds(helm.template({"replicas": 1}), "PodDisruptionBudget") == []
    assert len(kinds(helm.template({"replicas": 2}), "PodDisruptionBudget")) == 1


def test_the_crds_are_the_repositorys_own_but_for_helms_metadata(helm: Helm) -> None:
    crds = {each["spec"]["names"]["plural"]: each for each in kinds(helm.template({}), "CustomResourceDefinition")}
    for crd in crds.values():
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert crd["metadata"].pop("labels")["app.kubernetes.io/name"] == "celeriac"
    files = (CHART.parents[1] / "crds").glob("*.yaml")
    assert crds == {file.stem: yaml.safe_load(file.read_text()) for file in files}


def test_a_list_of_namespaces_leaves_no_cluster_role_for_the_operator(helm: Helm) -> None:
    manifests = helm.template({"watchNamespaces": ["shop", "billing"]})
    assert kinds(manifests, "ClusterRoleBinding") == []
    assert [role["metadata"]["name"].rsplit(":", 1)[1] for role in kinds(manifests, "ClusterRole")] == ["view", "edit"]
    places = {(role["metadata"]["namespace"], role["metadata"]["name"]) for role in kinds(manifests, "Role")}
    assert places == {("shop", RELEASE), ("billing", RELEASE), (SYSTEM, f"{RELEASE}-lease")}
    without = helm.template({"watchNamespaces": ["shop"], "rbac": {"aggregate": False}})
    assert kinds(without, "ClusterRole") == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"replicas": 0}, "replicas"),
        ({"replica": 2}, "'replica'"),
        ({"watchNamespaces": "shop"}, "watchNamespaces"),
        ({"watchNamespaces": ["Shop"]}, "watchNamespaces/0"),
        ({"watchNamespaces": ["shop", "shop"]}, "watchNamespaces"),
        ({"tickSeconds": 0}, "tickSeconds"),
        ({"brokers": {"allowed": ["redis shop"]}}, "brokers/allowed/0"),
        ({"brokers": {"allowAddresses": ["localhost"]}}, "brokers/allowAddresses/0"),
        ({"brokers": {"allowed": ["redis://redis:6379"]}}, "brokers/allowed/0"),
        ({"brokers": {"allowed": ["--flag"]}}, "brokers/allowed/0"),
        ({"brokers": {"allowed": ["10.0.0.0/99"]}}, "brokers/allowed/0"),
        ({"brokers": {"allowed": ["redis:"]}}, "brokers/allowed/0"),
        ({"brokers": {"allowAddresses": ["127.0.0.1/64"]}}, "brokers/allowAddresses/0"),
        ({"brokers": {"allowUnixSockets": "true"}}, "brokers/allowUnixSockets"),
        ({"namespaceSelector": "team in (shop"}, "namespaceSelector"),
        ({"poolSelector": "team in (shop"}, "poolSelector"),
        ({"poolSelector": "--log-level=debug"}, "poolSelector"),
        ({"poolSelector": "team>1"}, "poolSelector"),
        ({"admissionPolicy": {"enabled": "true"}}, "admissionPolicy/enabled"),
        ({"admissionPolicies": {"enabled": True}}, "'admissionPolicies'"),
        ({"healthPort": 80}, "healthPort"),
        ({"namespaceSelector": "a=b", "watchNamespaces": ["shop"]}, "exclude each other"),
        ({"healthPort": 8080}, "healthPort and metrics.port are the same"),
        ({"metrics": {"tls": {"secretName": "Metrics_TLS"}}}, "metrics/tls/secretName"),
        ({"metrics": {"tls": {"secret": "metrics-tls"}}}, "'secret'"),
        ({"metrics": {"authentication": True}}, "metrics.authentication needs metrics.tls.secretName"),
        ({"serviceAccount": {"name": "robot' || 'a' == 'a"}}, "serviceAccount/name"),
        ({"log": {"level": "info"}}, "'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
        ({"metrics": {"port": 80}}, "metrics/port"),
        ({"metrics": {"clusterLabel": "k8s cluster"}}, "metrics/clusterLabel"),
        ({"prometheusRule": {"thresholds": {"waitFor": "5 minutes"}}}, "prometheusRule/thresholds/waitFor"),
        ({"prometheusRule": {"thresholds": {"failingRatio": 10}}}, "prometheusRule/thresholds/failingRatio"),
        ({"prometheusRule": {"operatorSelector": '{job="x"}'}}, "prometheusRule/operatorSelector"),
        (
            {"metrics": {"serviceMonitor": {"authorization": {"credentials": {"name": "x"}}}}},
            "authorization/credentials",
        ),
        ({"metrics": {"serviceMonitor": {"interval": 15}}}, "metrics/serviceMonitor/interval"),
        ({"image": {"repository": "celeriac@sha256:0"}}, "image/repository"),
        ({"image": {"digest": "latest"}}, "image/digest"),
        ({"env": {"POD_NAME": "me"}}, "env.POD_NAME: the chart sets it itself"),
        ({"env": {"CELERIAC_TICK_SECONDS": "9"}}, "env.CELERIAC_TICK_SECONDS: the chart sets it itself"),
        ({"env": {"MY-NAME": "me"}}, "'MY-NAME'"),
        ({"env": {"RETRIES": 3}}, "env/RETRIES"),
        ({"podLabels": {"tier": 1}}, "podLabels/tier"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
        (
            {"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}},
            "needs metrics.service.enabled",
        ),
    ],
)
def test_a_bad_value_is_refused_by_its_name(helm: Helm, values: dict[str, Any], says: str) -> None:
    done = helm.try_run("template", RELEASE, str(CHART), "--kube-version=1.34.4", values=values)
    assert done.returncode != 0
    assert says in done.stderr


POOL = """
apiVersion: celeriac.dev/v1alpha1
kind: CeleryWorkerPool
metadata: {name: email, namespace: shop}
spec: {image: "registry.example/app:1", app: "app:app", broker: {url: "redis://redis:6379/0"}}
"""


@pytest.mark.parametrize(
    "values",
    [
        {"poolSelector": "team"},
        {"namespaceSelector": "celeriac.dev/shard!=a"},
        {"poolSelector": "!legacy, team==shop,tier!=web,example.com/zone notin (a, b)"},
        {"brokers": {"allowed": ["redis", "*.redis.svc:6379", "10.1.2.3"]}},
        {"brokers": {"allowed": ["10.0.0.0/8:6379", "fd00::/8", "[::1]:6379", "[fd00::/8]:6379"]}},
        {"brokers": {"allowAddresses": ["127.0.0.1", "169.254.0.0/16", "::1", "fe80::/10"]}},
        {"serviceAccount": {"create": False, "name": "robot.celery"}},
    ],
)
def test_what_the_operator_understands_the_chart_takes(helm: Helm, values: dict[str, Any]) -> None:
    """And what the one refuses, so that it would not start, the other refuses where it can."""
    args = operator_pod(helm.template(values))["containers"][0]["args"]
    flags = [each for each in args if each.startswith(("--pool-selector", "--allow"))]
    done = CliRunner().invoke(main, [*flags, "--metrics-port=70000"])
    assert "'--metrics-port'" in done.output, done.output


def test_prometheus_shows_its_own_token_or_the_one_of_a_secret(helm: Helm) -> None:
    """By the fields that a ServiceMonitor has (prometheus-operator 0.87)."""
    asked = {"authentication": True, "tls": {"secretName": "metrics-tls"}}

    def endpoint(**values: Any) -> dict[str, Any]:
        monitor = {"enabled": True, **values}
        (found,) = kinds(helm.template({"metrics": {**asked, "serviceMonitor": monitor}}), "ServiceMonitor")
        (only,) = found["spec"]["endpoints"]
        return {name: only.get(name) for name in ("scheme", "bearerTokenFile", "authorization")}

    own = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert endpoint() == {"scheme": "https", "bearerTokenFile": own, "authorization": None}
    secret = {"credentials": {"name": "prometheus", "key": "token"}}
    assert endpoint(authorization=secret) == {"scheme": "https", "bearerTokenFile": None, "authorization": secret}


def test_uninstalling_keeps_the_pools_and_installing_again_finds_them(
    install: Install, helm: Helm, chart_cluster: ControlPlane
) -> None:
    install({})
    wait_established(chart_cluster, CRD)
    chart_cluster.kubectl("create", "-f", "-", stdin=POOL)
    helm.run("upgrade", RELEASE, str(CHART), f"--namespace={SYSTEM}", values={"replicas": 2})
    replicas = chart_cluster.kubectl("get", "deployment", RELEASE, f"-n{SYSTEM}", "-o", "jsonpath={.spec.replicas}")
    assert replicas == "2"
    helm.run("uninstall", RELEASE, f"--namespace={SYSTEM}")
    assert chart_cluster.kubectl("get", "cwp", "-nshop", "-oname").split() == ["celeryworkerpool.celeriac.dev/email"]
    kept = ("get", "deploy,svc,cm,sa,role,rolebinding", f"-n{SYSTEM}", "-lapp.kubernetes.io/name=celeriac", "-oname")
    assert chart_cluster.kubectl(*kept) == ""
    install({})
    assert chart_cluster.kubectl("get", "cwp", "-nshop", "-oname").split() == ["celeryworkerpool.celeriac.dev/email"]


def test_an_upgrade_brings_a_new_version_of_the_crd(
    helm: Helm, chart_cluster: ControlPlane, install: Install, tmp_path: Path
) -> None:
    older = shutil.copytree(CHART, tmp_path / "celeriac")
    crd = older / "files" / "celeryworkerpools.yaml"
    crd.write_text(crd.read_text().replace("    shortNames: [cwp]\n", ""))
    helm.run("install", RELEASE, str(older), f"--namespace={SYSTEM}")
    assert "shortNames" not in json.loads(chart_cluster.kubectl("get", "crd", CRD, "-ojson"))["spec"]["names"]
    helm.run("upgrade", RELEASE, str(CHART), f"--namespace={SYSTEM}")
    assert json.loads(chart_cluster.kubectl("get", "crd", CRD, "-ojson"))["spec"]["names"]["shortNames"] == ["cwp"]


def test_without_keep_the_crd_goes_with_the_release(install: Install, helm: Helm, chart_cluster: ControlPlane) -> None:
    install({"crds": {"keep": False}})
    helm.run("uninstall", RELEASE, f"--namespace={SYSTEM}", "--wait")
    assert chart_cluster.kubectl("get", "crd", "-oname", "--ignore-not-found", CRD) == ""


def test_the_notes_teach_the_next_step(install: Install) -> None:
    notes = install({"watchNamespaces": ["shop"]})
    assert f"kubectl -n {SYSTEM} rollout status deployment/{RELEASE}" in notes
    assert "kubectl -n shop create secret generic broker" in notes
    pool = notes.split("<<EOF\n")[1].split("EOF")[0]
    assert yaml.safe_load(pool)["metadata"] == {"name": "email", "namespace": "shop"}
