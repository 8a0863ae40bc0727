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
from tests.integration.crds import definition, wait_established
from tests.integration.helm import CHART, CRD, IMAGE, RELEASE, SYSTEM, Helm, Install

pytestmark = pytest.mark.integration

EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "image": {"repository": "registry.example/celeriac", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "enabled": True,
    "global": {"imagePullSecrets": ["mirror"], "theirs": {"a": 1}},
    "commonLabels": {"owner": "platform", "app.kubernetes.io/name": "not-mine"},
    "commonAnnotations": {"example.com/cost-centre": "4711"},
    "fullnameOverride": "celery-operator",
    "watchNamespaces": ["shop", "billing"],
    "tickSeconds": 2,
    "healthPort": 9091,
    "brokers": {
        "allowed": ["redis.shop", "*.cache.example.com:6380", "10.1.0.0/16", "[fd00::7]:6379"],
        "allowAddresses": ["169.254.7.0/24", "::1/128"],
        "allowUnixSockets": True,
    },
    "platform": {
        "maxReplicas": 50,
        "podSecurity": "Restricted",
        "registries": ["registry.example/shop", "mirror.example"],
    },
    "poolSelector": "team in (shop, billing),!legacy",
    "log": {"level": "DEBUG", "format": "json"},
    "crds": {"keep": False},
    "serviceAccount": {"name": "robot", "annotations": {"example.com/role": "celery"}},
    "metrics": {
        "port": 9090,
        "tls": {"secretName": "metrics-tls"},
        "authentication": True,
        "service": {"annotations": {"example.com/scrape": "yes"}, "labels": {"scrape": "yes"}},
        "serviceMonitor": {
            "enabled": True,
            "interval": "30s",
            "labels": {"release": "prometheus"},
            "annotations": {"example.com/note": "hello"},
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "python_.*"}],
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
    "networkPolicy": {
        "enabled": True,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"team": "metrics"}}}],
        "egress": {
            "enabled": True,
            "apiServer": [{"ipBlock": {"cidr": "10.96.0.1/32"}}],
            "brokers": [{"podSelector": {"matchLabels": {"app": "redis"}}, "namespaceSelector": {}}],
            "extra": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}],
        },
    },
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
    "deploymentAnnotations": {"reloader.stakater.com/auto": "true"},
    "podSecurityContext": {"runAsNonRoot": True, "fsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
    "securityContext": {"runAsUser": 10001},
    "strategy": {"type": "Recreate"},
    "revisionHistoryLimit": 3,
    "livenessProbe": {"failureThreshold": 5},
    "readinessProbe": {"periodSeconds": 4},
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["redis.old"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.53"]},
    "extraArgs": ["--resolv-conf=/etc/names/resolv.conf"],
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ca/ca.crt"}],
    "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    "initContainers": [{"name": "wait", "image": "registry.example/wait:1"}],
    "extraContainers": [{"name": "proxy", "image": "registry.example/proxy:1"}],
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-own"}},
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ include "celeriac.fullname" . }}-text}\n',
    ],
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


@pytest.mark.parametrize(
    "values", [pytest.param({}, id="defaults", marks=pytest.mark.full), pytest.param(EVERYTHING, id="everything")]
)
@pytest.mark.parametrize("apply", ["--server-side", pytest.param("--validate=strict", marks=pytest.mark.full)])
def test_the_api_server_takes_every_manifest_without_a_warning(
    helm: Helm, chart_cluster: ControlPlane, values: dict[str, Any], apply: str
) -> None:
    theirs = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    manifests = [each for each in helm.template(values) if each["kind"] not in theirs]
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
        "--max-replicas=50",
        "--pod-security=Restricted",
        "--allowed-registry=registry.example/shop",
        "--allowed-registry=mirror.example",
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
        "--resolv-conf=/etc/names/resolv.conf",
    ]
    assert [each["name"] for each in container["env"]] == ["POD_NAME", "HTTPS_PROXY", "NODE", "SSL_CERT_FILE"]
    assert operator_pod(manifests)["serviceAccountName"] == "robot"
    (constraint,) = operator_pod(manifests)["topologySpreadConstraints"]
    assert constraint["labelSelector"] == kinds(manifests, "Deployment")[0]["spec"]["selector"]
    assert kinds(manifests, "PodDisruptionBudget")[0]["spec"]["maxUnavailable"] == "50%"
    assert kinds(manifests, "ServiceMonitor")[0]["metadata"]["labels"]["release"] == "prometheus"
    assert kinds(manifests, "ServiceMonitor")[0]["spec"]["endpoints"][0]["honorLabels"] is True
    dashboards, own, text = kinds(manifests, "ConfigMap")
    everywhere = EVERYTHING["commonAnnotations"]
    assert dashboards["metadata"]["annotations"] == {"grafana_folder": "Celery"} | everywhere
    assert (own["metadata"]["name"], text["metadata"]["name"]) == (f"{RELEASE}-own", "celery-operator-text")
    for each in manifests:
        if each not in (own, text):
            assert everywhere.items() <= each["metadata"]["annotations"].items(), each
            assert each["metadata"]["labels"]["owner"] == "platform", each
            assert each["metadata"]["labels"]["app.kubernetes.io/name"] in ("celeriac", "celeriac-test"), each
    pod = operator_pod(manifests)
    assert pod["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]
    assert [each["name"] for each in pod["containers"]] == ["operator", "proxy"]
    assert [each["name"] for each in container["volumeMounts"]] == ["tmp", "metrics-certificate", "ca"]
    (policy,) = kinds(manifests, "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ports = [[port["port"] for port in rule.get("ports", ())] for rule in policy["spec"]["egress"]]
    assert ports == [[53, 53], [443, 6443], [6379, 6380, 26379], []]


def test_the_pod_of_helm_test_is_no_operator_for_any_selector(helm: Helm) -> None:
    manifests = helm.template(EVERYTHING)
    (test,) = kinds(manifests, "Pod")
    selectors = [
        *(each["spec"]["selector"]["matchLabels"] for each in kinds(manifests, "Deployment")),
        *(each["spec"]["selector"] for each in kinds(manifests, "Service")),
        *(each["spec"]["selector"]["matchLabels"] for each in kinds(manifests, "PodDisruptionBudget")),
        *(each["spec"]["podSelector"]["matchLabels"] for each in kinds(manifests, "NetworkPolicy")),
    ]
    assert len(selectors) == 4
    assert not any(selector.items() <= test["metadata"]["labels"].items() for selector in selectors)
    (policy,) = kinds(manifests, "NetworkPolicy")
    allowed = policy["spec"]["ingress"][0]["from"][-1]["podSelector"]["matchLabels"]
    assert allowed.items() <= test["metadata"]["labels"].items()
    assert test["spec"]["containers"][0]["command"][-1] == f"https://celery-operator-metrics.{SYSTEM}:9090"
    assert kinds(helm.template({"metrics": {"service": {"enabled": False}}}), "Pod") == []


def test_a_pod_monitor_takes_the_place_of_the_service_monitor_and_alerts_follow(helm: Helm) -> None:
    monitor = {"enabled": True, "relabelings": [{"action": "labeldrop", "regex": "pod"}]}
    manifests = helm.template({"metrics": {"podMonitor": monitor}, "prometheusRule": {"enabled": True}})
    (found,) = kinds(manifests, "PodMonitor")
    (endpoint,) = found["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["honorLabels"], endpoint["relabelings"]) == (
        "metrics",
        True,
        monitor["relabelings"],
    )
    assert f'job="{SYSTEM}/{RELEASE}"' in json.dumps(kinds(manifests, "PrometheusRule")).replace("\\", "")


def test_the_chart_says_what_is_missing_where_no_image_is_named(helm: Helm) -> None:
    done = helm.try_run("install", RELEASE, str(CHART), f"--namespace={SYSTEM}")
    assert done.returncode != 0
    assert "image.repository is empty" in done.stderr
    assert "--set image.repository=REGISTRY/celeriac" in done.stderr


def test_values_of_an_older_chart_are_not_mixed_with_this_one(helm: Helm) -> None:
    """What `helm upgrade --reuse-values` does: the new defaults are not there."""
    done = helm.try_run("template", RELEASE, str(CHART), values=IMAGE | {"tests": None, "securityContext": None})
    assert "--reset-then-reuse-values" in done.stderr


def test_an_umbrella_chart_leaves_it_out_by_its_condition(helm: Helm, tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "platform" / "charts" / "celeriac")
    dependency = {"name": "celeriac", "version": "0.1.0", "condition": "celeriac.enabled"}
    chart = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "platform" / "Chart.yaml").write_text(yaml.safe_dump(chart))

    def rendered(enabled: bool) -> list[str]:
        values = {"celeriac": {"enabled": enabled, **IMAGE}, "global": {"imagePullSecrets": [{"name": "mirror"}]}}
        text = helm.run("template", "platform", str(tmp_path / "platform"), "--kube-version=1.34.4", values=values)
        return [each["kind"] for each in yaml.safe_load_all(text) if each]

    assert "Deployment" in rendered(True)
    assert rendered(False) == []


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
        ({"platform": {"registries": ["https://registry.example"]}}, "platform/registries/0"),
        ({"platform": {"podSecurity": "Privileged"}}, "platform/podSecurity"),
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
        ({"prometheusRule": {"thresholds": {"waitFor": "30s1m"}}}, "prometheusRule/thresholds/waitFor"),
        ({"prometheusRule": {"thresholds": {"failingRatio": 10}}}, "prometheusRule/thresholds/failingRatio"),
        ({"prometheusRule": {"operatorSelector": '{job="x"}'}}, "prometheusRule/operatorSelector"),
        (
            {"metrics": {"serviceMonitor": {"authorization": {"credentials": {"name": "x"}}}}},
            "authorization/credentials",
        ),
        ({"metrics": {"serviceMonitor": {"interval": 15}}}, "metrics/serviceMonitor/interval"),
        ({"metrics": {"podMonitor": {"interval": ""}}}, "metrics/podMonitor/interval"),
        ({"image": {"repository": "celeriac@sha256:0"}}, "image/repository"),
        ({"image": {"digest": "latest"}}, "image/digest"),
        ({"image": {"repository": ""}}, "image.repository is empty"),
        ({"extraArgs": ["--metrics-port=1"]}, "extraArgs: --metrics-port=1: the chart sets this flag itself"),
        ({"extraArgs": ["--no-exporter-names"]}, "the chart sets this flag itself"),
        ({"extraEnv": [{"name": "POD_NAME", "value": "me"}]}, "extraEnv: POD_NAME: the chart sets it itself"),
        ({"rbac": {"secretNamespaces": ["shop"]}}, "rbac.secretNamespaces needs rbac.restrictSecrets"),
        ({"rbac": {"restrictSecrets": True}, "watchNamespaces": ["shop"]}, "exclude each other"),
        ({"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}}, "scraped twice"),
        (
            {
                "metrics": {
                    "podMonitor": {"enabled": True},
                    "tls": {"secretName": "metrics-tls"},
                    "authentication": True,
                }
            },
            "a PodMonitor cannot show Prometheus' own token",
        ),
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
    done = helm.try_run("template", RELEASE, str(CHART), "--kube-version=1.34.4", values=IMAGE | values)
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
        {
            "platform": {
                "maxReplicas": 7,
                "podSecurity": "Restricted",
                "registries": ["localhost:5000/a/b", "docker.io"],
            }
        },
    ],
)
def test_what_the_operator_understands_the_chart_takes(helm: Helm, values: dict[str, Any]) -> None:
    """And what the one refuses, so that it would not start, the other refuses where it can."""
    args = operator_pod(helm.template(values))["containers"][0]["args"]
    flags = [each for each in args if each.startswith(("--pool-selector", "--allow", "--max-", "--pod-sec"))]
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


@pytest.mark.full
def test_uninstalling_keeps_the_pools_and_installing_again_finds_them(
    install: Install, helm: Helm, chart_cluster: ControlPlane
) -> None:
    install({})
    wait_established(chart_cluster, CRD)
    chart_cluster.kubectl("create", "-f", "-", stdin=POOL)
    helm.run("upgrade", RELEASE, str(CHART), f"--namespace={SYSTEM}", values=IMAGE | {"replicas": 2})
    replicas = chart_cluster.kubectl("get", "deployment", RELEASE, f"-n{SYSTEM}", "-o", "jsonpath={.spec.replicas}")
    assert replicas == "2"
    helm.run("uninstall", RELEASE, f"--namespace={SYSTEM}")
    assert chart_cluster.kubectl("get", "cwp", "-nshop", "-oname").split() == ["celeryworkerpool.celeriac.dev/email"]
    kept = ("get", "deploy,svc,cm,sa,role,rolebinding", f"-n{SYSTEM}", "-lapp.kubernetes.io/name=celeriac", "-oname")
    assert chart_cluster.kubectl(*kept) == ""
    install({})
    assert chart_cluster.kubectl("get", "cwp", "-nshop", "-oname").split() == ["celeryworkerpool.celeriac.dev/email"]


@pytest.mark.full
def test_an_upgrade_brings_a_new_version_of_the_crd(
    helm: Helm, chart_cluster: ControlPlane, install: Install, tmp_path: Path
) -> None:
    older = shutil.copytree(CHART, tmp_path / "celeriac")
    crd = older / "files" / "celeryworkerpools.yaml"
    crd.write_text(crd.read_text().replace("    shortNames: [cwp]\n", ""))
    helm.run("install", RELEASE, str(older), f"--namespace={SYSTEM}", values=IMAGE)
    assert "shortNames" not in definition(chart_cluster, CRD)["spec"]["names"]
    helm.run("upgrade", RELEASE, str(CHART), f"--namespace={SYSTEM}", values=IMAGE)
    assert definition(chart_cluster, CRD)["spec"]["names"]["shortNames"] == ["cwp"]


@pytest.mark.full
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
