"""Where a pool's queues are: spec.broker as values, and the same as a text that a pod carries."""

import json
from typing import Any

from celeriac.api.names import BROKER_ANNOTATION
from celeriac.api.words import holds_line_end
from celeriac.pool.broker_url import SENTINEL, broker_url_names_credentials, broker_url_problem, scheme_of
from celeriac.pool.fields import Fields
from celeriac.pool.layouts import MAX_PRIORITY
from celeriac.pool.model import BrokerSpec, InvalidPool, QueueLayout, SecretKey, SentinelSecrets, TlsSecrets


def parse_broker(broker: Fields) -> BrokerSpec:
    """spec.broker. Raises InvalidPool."""
    if broker.has("url") == broker.has("urlFrom"):
        raise InvalidPool(broker.path, "needs exactly one of url and urlFrom: urlFrom where the URL holds a password")
    url = broker.line("url", None)
    master = broker.line("sentinelMaster", None)
    if url is not None:
        _check_url(broker, url, master)
    return BrokerSpec(
        url=url,
        url_from=_secret_key(broker, "urlFrom"),
        layout=_layout(broker),
        tls=_tls(broker.child("tls")) if broker.has("tls") else None,
        sentinel_master=master,
        sentinel=_sentinel(broker) if broker.has("sentinel") else None,
    )


def _check_url(broker: Fields, url: str, master: str | None) -> None:
    if broker_url_names_credentials(url):
        raise broker.invalid("url", "must not hold a user or a password: put it in a Secret and name that in urlFrom")
    problem = broker_url_problem(url)
    if problem is not None:
        raise broker.invalid("url", problem)
    if (scheme_of(url) == SENTINEL) != (master is not None):
        raise broker.invalid("sentinelMaster", "goes with a sentinel:// url and with nothing else: set both or neither")
    if broker.has("tls") and scheme_of(url) != "rediss":
        raise broker.invalid("tls", "needs an encrypted connection: begin url with rediss://, or drop tls")


def _secret_key(fields: Fields, name: str) -> SecretKey | None:
    if not fields.has(name):
        return None
    reference = fields.child(name).child("secretKeyRef")
    return SecretKey(name=reference.needed("name", "broker"), key=reference.needed("key", "url"))


def _layout(broker: Fields) -> QueueLayout:
    default = QueueLayout()
    steps = broker.integers("prioritySteps", default.priority_steps, 0, MAX_PRIORITY)
    # kombu rounds a priority down to a step by bisection, and priority 0 is every message's default.
    if steps[:1] != (0,) or list(steps) != sorted(set(steps)):
        raise broker.invalid("prioritySteps", "must ascend from 0 without repeats, e.g. [0, 3, 6, 9]")
    separator = broker.text("separator", default.separator)
    if holds_line_end(separator):
        raise broker.invalid("separator", "must not hold line ends: give sep of the app another value")
    return QueueLayout(
        key_prefix=broker.line("keyPrefix", default.key_prefix, empty=True),
        separator=separator,
        priority_steps=steps,
    )


def _tls(tls: Fields) -> TlsSecrets:
    if tls.has("certificateFrom") != tls.has("privateKeyFrom"):
        raise InvalidPool(tls.path, "needs certificateFrom and privateKeyFrom together: give both or neither")
    if not (tls.has("caFrom") or tls.has("certificateFrom")):
        raise InvalidPool(tls.path, "is empty: give caFrom, or certificateFrom and privateKeyFrom, or drop tls")
    return TlsSecrets(
        ca=_secret_key(tls, "caFrom"),
        certificate=_secret_key(tls, "certificateFrom"),
        private_key=_secret_key(tls, "privateKeyFrom"),
    )


def _sentinel(broker: Fields) -> SentinelSecrets:
    sentinel = broker.child("sentinel")
    if not broker.has("sentinelMaster"):
        raise broker.invalid("sentinel", "goes with sentinelMaster and a sentinel:// url only: set both or drop it")
    if sentinel.has("usernameFrom") and not sentinel.has("passwordFrom"):
        raise sentinel.invalid("usernameFrom", "needs passwordFrom beside it: give both, or passwordFrom alone")
    if not (sentinel.has("passwordFrom") or sentinel.has("tls")):
        raise InvalidPool(sentinel.path, "is empty: give passwordFrom or tls, or drop sentinel")
    return SentinelSecrets(
        username=_secret_key(sentinel, "usernameFrom"),
        password=_secret_key(sentinel, "passwordFrom"),
        tls=_tls(sentinel.child("tls")) if sentinel.has("tls") else None,
    )


def broker_reference(broker: BrokerSpec) -> str:
    """The broker as JSON, in the words of spec.broker, all defaults told. Secrets are named; none is in it."""
    fields: dict[str, Any] = {
        "url": broker.url,
        "urlFrom": _reference(broker.url_from),
        "keyPrefix": broker.layout.key_prefix,
        "separator": broker.layout.separator,
        "prioritySteps": list(broker.layout.priority_steps),
        "sentinelMaster": broker.sentinel_master,
        "tls": _tls_reference(broker.tls),
        "sentinel": _sentinel_reference(broker.sentinel),
    }
    told = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def parse_broker_reference(text: str) -> BrokerSpec:
    """The broker that `broker_reference` wrote. Raises InvalidPool for any other text."""
    try:
        value = json.loads(text)
    except ValueError:
        raise InvalidPool(BROKER_ANNOTATION, "is no JSON: the operator writes it, leave it alone") from None
    return parse_broker(Fields.of(BROKER_ANNOTATION, value))


def _sentinel_reference(sentinel: SentinelSecrets | None) -> dict[str, Any] | None:
    if sentinel is None:
        return None
    fields = {
        "usernameFrom": _reference(sentinel.username),
        "passwordFrom": _reference(sentinel.password),
        "tls": _tls_reference(sentinel.tls),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tls_reference(tls: TlsSecrets | None) -> dict[str, Any] | None:
    if tls is None:
        return None
    secrets = {"caFrom": tls.ca, "certificateFrom": tls.certificate, "privateKeyFrom": tls.private_key}
    return {name: _reference(secret) for name, secret in secrets.items() if secret}


def _reference(secret: SecretKey | None) -> dict[str, Any] | None:
    return None if secret is None else {"secretKeyRef": {"name": secret.name, "key": secret.key}}
