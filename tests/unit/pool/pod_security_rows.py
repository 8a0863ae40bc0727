"""Templates and what podSecurity: Restricted makes of them: each member of the standard, at each place it can stand.

The members are those of k8s.io/pod-security-admission 0.34; what a template cannot set at all (hostNetwork, hostPID,
hostIPC, hostUsers, os, ephemeral containers) is refused for being no field.
"""

from typing import Any, NamedTuple

from celeriac.pool.pod_security import SELINUX_TYPES, SYSCTLS
from tests.unit.pool.bodies import Body, minimal


class Row(NamedTuple):
    """A template's `spec` (or annotations), and the field that Restricted refuses of it; None where it takes all."""

    template: Body
    refused: str | None
    stricter: bool = False  # than the standard

    def body(self, level: str = "Restricted") -> Body:
        """A pool with this template."""
        return minimal(podSecurity=level, template=self.template)


def container(**fields: Any) -> Body:
    return {"name": "helper", "image": "registry.example/helper:1", **fields}


def spec(**fields: Any) -> Body:
    return {"spec": fields}


def _anybody() -> list[tuple[Body, str | None]]:
    """Of a securityContext, a Pod's and a container's alike."""
    options = [({"seLinuxOptions": {"type": each}}, None) for each in SELINUX_TYPES]
    return [
        *options,
        ({}, None),
        ({"runAsNonRoot": True, "runAsUser": 1000}, None),
        ({"runAsNonRoot": False}, "runAsNonRoot"),
        ({"runAsUser": 0}, "runAsUser"),
        ({"seccompProfile": {"type": "RuntimeDefault"}}, None),
        ({"seccompProfile": {"type": "Localhost", "localhostProfile": "audit.json"}}, None),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile.type"),
        ({"appArmorProfile": {"type": "RuntimeDefault"}}, None),
        ({"appArmorProfile": {"type": "Localhost", "localhostProfile": "celery"}}, None),
        ({"appArmorProfile": {"type": "Unconfined"}}, "appArmorProfile.type"),
        ({"seLinuxOptions": {"level": "s0:c123,c456"}}, None),
        ({"seLinuxOptions": {"type": "spc_t"}}, "seLinuxOptions.type"),
        ({"seLinuxOptions": {"user": "system_u"}}, "seLinuxOptions.user"),
        ({"seLinuxOptions": {"role": "system_r"}}, "seLinuxOptions.role"),
        ({"windowsOptions": {"hostProcess": False}}, None),
        ({"windowsOptions": {"hostProcess": True}}, "windowsOptions.hostProcess"),
    ]


def _context() -> list[tuple[Body, str | None]]:
    """Of a container's securityContext alone."""
    return [
        ({"readOnlyRootFilesystem": True}, None),
        ({"privileged": False, "allowPrivilegeEscalation": False, "procMount": "Default"}, None),
        ({"privileged": True}, "privileged"),
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation"),
        ({"procMount": "Unmasked"}, "procMount"),
        ({"capabilities": {}}, None),
        ({"capabilities": {"drop": []}}, None),
        ({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}, None),
        ({"capabilities": {"add": ["NET_BIND_SERVICE"]}}, None),
        ({"capabilities": {"drop": ["NET_RAW"]}}, "capabilities.drop"),
        ({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}}, "capabilities.add[1]"),
        ({"capabilities": {"add": ["SYS_ADMIN"]}}, "capabilities.add[0]"),
    ]


def _helpers() -> list[Row]:
    """Of init containers and sidecars."""
    rows = []
    for place in ("initContainers", "sidecars"):
        path = f"spec.template.spec.{place}[1]"
        for context, field in (*_anybody(), *_context()):
            template = spec(**{place: [container(name="first"), container(name="second", securityContext=context)]})
            rows.append(Row(template, None if field is None else f"{path}.securityContext.{field}"))
        for port, field in (({"containerPort": 80}, None), ({"containerPort": 80, "hostPort": 80}, "hostPort")):
            template = spec(**{place: [container(name="first"), container(name="second", ports=[port])]})
            rows.append(Row(template, None if field is None else f"{path}.ports[0].{field}"))
    return rows


def _hosts() -> list[Row]:
    """Only a sidecar has probes and hooks; Kubernetes refuses those of an init container."""
    rows = []
    for kind in ("httpGet", "tcpSocket"):
        action: Body = {kind: {"port": 80}}
        there: Body = {kind: {"port": 80, "host": "10.0.0.1"}}
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            refused = f"spec.template.spec.sidecars[0].{probe}.{kind}.host"
            rows += [Row(spec(sidecars=[container(**{probe: action})]), None)]
            rows += [Row(spec(sidecars=[container(**{probe: there})]), refused)]
        for hook in ("postStart", "preStop"):
            refused = f"spec.template.spec.sidecars[0].lifecycle.{hook}.{kind}.host"
            rows += [Row(spec(sidecars=[container(lifecycle={hook: action})]), None)]
            rows += [Row(spec(sidecars=[container(lifecycle={hook: there})]), refused)]
            rows += [Row(spec(lifecycle={hook: action}), None)]
            rows += [Row(spec(lifecycle={hook: there}), f"spec.template.spec.lifecycle.{hook}.{kind}.host")]
    return rows


def _worker() -> list[Row]:
    """Of the worker's own container."""
    path = "spec.template.spec.containerSecurityContext"
    return [
        Row(spec(containerSecurityContext=context), field and f"{path}.{field}")
        for context, field in (*_anybody(), *_context())
    ]


ALLOWED_VOLUMES: dict[str, Body] = {
    "configMap": {"name": "settings"},
    "csi": {"driver": "csi.example.com"},
    "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]},
    "emptyDir": {},
    "ephemeral": {
        "volumeClaimTemplate": {
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    },
    "image": {"reference": "registry.example/models:1"},
    "persistentVolumeClaim": {"claimName": "models"},
    "projected": {"sources": [{"secret": {"name": "broker"}}, {"configMap": {"name": "settings"}}]},
    "secret": {"secretName": "broker"},
}
REFUSED_VOLUMES: dict[str, Body] = {
    "hostPath": {"path": "/"},
    "gcePersistentDisk": {"pdName": "disk"},
    "awsElasticBlockStore": {"volumeID": "vol-1"},
    "gitRepo": {"repository": "https://git.example/repo"},
    "nfs": {"server": "10.0.0.1", "path": "/"},
    "iscsi": {"targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:disk", "lun": 0},
    "glusterfs": {"endpoints": "gluster", "path": "/"},
    "rbd": {"monitors": ["10.0.0.1"], "image": "disk"},
    "flexVolume": {"driver": "example/driver"},
    "cinder": {"volumeID": "vol-1"},
    "cephfs": {"monitors": ["10.0.0.1"]},
    "flocker": {"datasetName": "data"},
    "fc": {"targetWWNs": ["50060e801049cfd1"], "lun": 0},
    "azureFile": {"secretName": "azure", "shareName": "share"},
    "vsphereVolume": {"volumePath": "[store] disk"},
    "quobyte": {"registry": "10.0.0.1:7861", "volume": "v"},
    "azureDisk": {"diskName": "disk", "diskURI": "https://disk.example/vhds/disk.vhd"},
    "portworxVolume": {"volumeID": "vol-1"},
    "photonPersistentDisk": {"pdID": "disk"},
    "scaleIO": {"gateway": "https://gw.example", "system": "s", "secretRef": {"name": "x"}, "volumeName": "v"},
    "storageos": {"volumeName": "v"},
}
TOKENS: dict[str, Body] = {
    "serviceAccountToken": {"path": "token", "audience": "vault"},
    "podCertificate": {"signerName": "example.com/signer", "keyType": "ED25519", "credentialBundlePath": "bundle.pem"},
}


def _volumes() -> list[Row]:
    path = "spec.template.spec.volumes[1]"
    first = {"name": "scratch", "emptyDir": {}}
    rows = [Row(spec(volumes=[first, {"name": "v", kind: source}]), None) for kind, source in ALLOWED_VOLUMES.items()]
    rows += [
        Row(spec(volumes=[first, {"name": "v", kind: source}]), f"{path}.{kind}")
        for kind, source in REFUSED_VOLUMES.items()
    ]
    rows.append(Row(spec(volumes=[first, {"name": "v"}]), path, stricter=True))
    rows.append(Row(spec(volumes=[first, {"name": "v", "emptyDir": {}, "hostPath": None}]), None))
    node = {"hostPath": {"path": "/"}}
    others: list[Body] = [{"emptyDir": {}}, {"emptyDir": None}, {"secret": {}}]
    for beside in others:
        rows.append(Row(spec(volumes=[first, {"name": "v", **beside, **node}]), f"{path}.hostPath"))
    for kind, source in TOKENS.items():
        volume = {"name": "v", "projected": {"sources": [{"secret": {"name": "broker"}}, {kind: source}]}}
        rows.append(Row(spec(volumes=[first, volume]), f"{path}.projected.sources[1].{kind}", stricter=True))
    return rows


def _pod() -> list[Row]:
    path = "spec.template.spec.securityContext"
    rows = [
        # What a Pod says against the standard, the operator would overrule in silence.
        Row(spec(securityContext=context), field and f"{path}.{field}", stricter=field == "runAsNonRoot")
        for context, field in _anybody()
    ]
    rows += [Row(spec(securityContext={"sysctls": [{"name": name, "value": "1"}]}), None) for name in SYSCTLS]
    unsafe = [{"name": SYSCTLS[0], "value": "1"}, {"name": "kernel.msgmax", "value": "65536"}]
    rows.append(Row(spec(securityContext={"sysctls": unsafe}), f"{path}.sysctls[1].name"))
    rows.append(Row(spec(securityContext={"fsGroup": 1000, "supplementalGroups": [2000]}), None))
    return rows


def _annotations() -> list[Row]:
    """The older way to say appArmorProfile."""
    key = "container.apparmor.security.beta.kubernetes.io/worker"
    path = f"spec.template.metadata.annotations[{key}]"
    allowed = ["runtime/default", "localhost/celery"]
    return [
        *(Row({"metadata": {"annotations": {key: value}}}, None) for value in allowed),
        Row({"metadata": {"annotations": {key: "unconfined"}}}, path),
        Row({"metadata": {"annotations": {"example.com/note": "unconfined"}}}, None),
    ]


ROWS: list[Row] = [*_helpers(), *_hosts(), *_worker(), *_volumes(), *_pod(), *_annotations()]
