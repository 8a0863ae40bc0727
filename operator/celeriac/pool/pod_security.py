"""What podSecurity: Restricted refuses of a template: the Pod Security Standard of that name, and tokens.

The standard is that of Kubernetes 1.34. The CRD refuses the same first; a test holds both against the admission
controller of the API server. Under Baseline the template is left to the label of the namespace.

What a template leaves open, `resources/security.py` fills in; here is what it says and may not.
"""

from collections.abc import Iterator
from typing import Final

from celeriac.pool.fields import Fields
from celeriac.pool.model import InvalidPool, PodSecurity

VOLUMES: Final = (
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("image", "persistentVolumeClaim", "projected", "secret"),
)
"""Kinds of volumes that the standard allows; none of them is a part of the node."""

SYSCTLS: Final = (
    *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"),
    *("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout"),
    *("net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time"),
    *("net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem"),
)
"""Kernel parameters that each Pod has of its own."""

SELINUX_TYPES: Final = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
PROFILES: Final = ("RuntimeDefault", "Localhost")
APPARMOR_PREFIX: Final = "container.apparmor.security.beta.kubernetes.io/"
IDENTITIES: Final = ("serviceAccountToken", "podCertificate")
"""Sources of a projected volume that make a worker somebody for the API server."""

_UNDER: Final = "under podSecurity: Restricted"
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS: Final = ("postStart", "preStop")
_MAX_USER: Final = 2**31 - 1
_MAX_PORT: Final = 65_535


def insecure(spec: Fields) -> Iterator[InvalidPool]:
    """What of spec.template breaks spec.podSecurity. Raises InvalidPool where the shape is wrong."""
    if spec.choice("podSecurity", PodSecurity.BASELINE) is not PodSecurity.RESTRICTED:
        return
    template = spec.child("template")
    yield from _annotations(template.child("metadata").child("annotations"))
    pod = template.child("spec")
    yield from _pod(pod.child("securityContext"))
    for volume in pod.children("volumes"):
        yield from _volume(volume)
    yield from _context(pod.child("containerSecurityContext"))
    yield from _handlers(pod.child("lifecycle"), _HANDLERS)
    for name in ("initContainers", "sidecars"):
        for container in pod.children(name):
            yield from _container(container)


def _annotations(annotations: Fields) -> Iterator[InvalidPool]:
    for key, value in annotations.values.items():
        allowed = value in ("", "runtime/default") or str(value).startswith("localhost/")
        if key.startswith(APPARMOR_PREFIX) and not allowed:
            path = f"{annotations.path}[{key}]"
            yield InvalidPool(path, f"must be runtime/default or localhost/PROFILE {_UNDER}: drop it")


def _pod(context: Fields) -> Iterator[InvalidPool]:
    yield from _anybody(context)
    for sysctl in context.children("sysctls"):
        if sysctl.text("name", "", empty=True) not in SYSCTLS:
            yield sysctl.invalid("name", f"is not among the kernel parameters that are safe {_UNDER}: drop it")


def _volume(volume: Fields) -> Iterator[InvalidPool]:
    kinds = [name for name in volume.values if name != "name" and volume.has(name)]
    for kind in kinds:
        if kind not in VOLUMES:
            yield volume.invalid(kind, f"is a kind of volume that is refused {_UNDER}: use {', '.join(VOLUMES)}")
    if not kinds:
        yield InvalidPool(volume.path, f"must name its kind {_UNDER}: use emptyDir: {{}} for an empty folder")
    for source in volume.child("projected").children("sources"):
        for name in IDENTITIES:
            if source.has(name):
                yield source.invalid(
                    name,
                    f"is refused {_UNDER}, workers are nobody to the API server: drop it, or set podSecurity: Baseline",
                )


def _container(container: Fields) -> Iterator[InvalidPool]:
    yield from _context(container.child("securityContext"))
    for port in container.children("ports"):
        if port.integer("hostPort", 0, 0, _MAX_PORT) != 0:
            yield port.invalid("hostPort", f"must not be set {_UNDER}: drop it, and use a Service")
    yield from _handlers(container, _PROBES)
    yield from _handlers(container.child("lifecycle"), _HANDLERS)


def _context(context: Fields) -> Iterator[InvalidPool]:
    """Of the securityContext of a container."""
    yield from _anybody(context)
    for name in ("privileged", "allowPrivilegeEscalation"):
        yield from _must_not_be(context, name, forbidden=True)
    if context.has("procMount") and context.text("procMount", "", empty=True) != "Default":
        yield context.invalid("procMount", f"must be Default {_UNDER}: drop it")
    yield from _capabilities(context.child("capabilities"))


def _capabilities(capabilities: Fields) -> Iterator[InvalidPool]:
    for index, name in enumerate(capabilities.texts("add", ())):
        if name != "NET_BIND_SERVICE":
            yield InvalidPool(
                f"{capabilities.at('add')}[{index}]", f"must be NET_BIND_SERVICE, the only one {_UNDER}: drop it"
            )
    drop = capabilities.texts("drop", ())
    if drop and "ALL" not in drop:
        yield capabilities.invalid("drop", f"must hold ALL {_UNDER}: set it to [ALL], or drop the field")


def _handlers(parent: Fields, names: tuple[str, ...]) -> Iterator[InvalidPool]:
    for name in names:
        yield from _hosts(parent.child(name))


def _hosts(handler: Fields) -> Iterator[InvalidPool]:
    for name in ("httpGet", "tcpSocket"):
        action = handler.child(name)
        if action.text("host", "", empty=True):
            yield action.invalid("host", f"must not be set {_UNDER}: drop it, the Pod itself is asked then")


def _anybody(context: Fields) -> Iterator[InvalidPool]:
    """Of the securityContext of a Pod and of a container."""
    yield from _must_not_be(context, "runAsNonRoot", forbidden=False)
    if context.integer("runAsUser", None, 0, _MAX_USER) == 0:
        yield context.invalid("runAsUser", f"must not be 0 {_UNDER}: give another number, such as 1000")
    for name in ("seccompProfile", "appArmorProfile"):
        if context.has(name) and context.child(name).text("type", "", empty=True) not in PROFILES:
            yield context.child(name).invalid("type", f"must be RuntimeDefault or Localhost {_UNDER}: drop it")
    labels = context.child("seLinuxOptions")
    if labels.text("type", "", empty=True) not in SELINUX_TYPES:
        yield labels.invalid("type", f"must be one of {', '.join(SELINUX_TYPES[1:])} {_UNDER}: drop it")
    for name in ("user", "role"):
        if labels.text(name, "", empty=True):
            yield labels.invalid(name, f"must not be set {_UNDER}: drop it")
    yield from _must_not_be(context.child("windowsOptions"), "hostProcess", forbidden=True)


def _must_not_be(fields: Fields, name: str, *, forbidden: bool) -> Iterator[InvalidPool]:
    if fields.boolean(name, not forbidden) is forbidden:
        yield fields.invalid(name, f"must not be {str(forbidden).lower()} {_UNDER}: drop it")
