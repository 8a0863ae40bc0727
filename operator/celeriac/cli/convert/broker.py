"""Where a Deployment's broker is, as spec.broker: of its command, its variables, or the trigger that looks at it.

A URL with a password is never printed: it becomes a Secret that its owner makes.
"""

import re
from typing import Final

from celeriac.cli.convert.remarks import Body, Remarks
from celeriac.pool.broker_url import SCHEMES, broker_url_names_credentials, broker_url_problem, scheme_of

NAMES: Final = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
"""Variables that Celery itself reads."""
USUAL: Final = (
    "CELERY_BROKER",
    "BROKER_URL",
    "CELERY_URL",
    "REDIS_URL",
    "REDIS_BROKER_URL",
    "REDIS_URI",
    "AIRFLOW__CELERY__BROKER_URL",
)
"""Variables that applications read."""


def broker_of(name: str, url: str | None, env: list[Body], trigger: Body | None, remarks: Remarks) -> Body:
    """spec.broker. `url`: that of the command line; `trigger`: what a trigger of KEDA's says."""
    if url is not None:
        return _of_url(name, url, "command", remarks)
    by_name = {each.get("name"): each for each in env}
    for variable in (*NAMES, *USUAL):
        entry = by_name.get(variable)
        if entry is None:
            continue
        place = f"env {variable}"
        if variable in USUAL:
            remarks.say(
                "spec.broker", f"taken from the variable {variable}: see that the app takes its broker from there"
            )
        reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
        if reference is not None:
            return {"urlFrom": {"secretKeyRef": {"name": reference["name"], "key": reference["key"]}}}
        if entry.get("value"):
            return _of_url(name, entry["value"], place, remarks)
        remarks.say("spec.broker", f"{variable} comes from a source that is no Secret: {_make_secret(name)}")
        return _secret(name)
    if trigger is not None:
        remarks.say("spec.broker", "taken from the trigger: see that it is the app's own broker")
        return _of_trigger(name, trigger, remarks)
    remarks.say("spec.broker", f"neither the command nor a variable names the broker: {_make_secret(name)}")
    return _secret(name)


def _of_url(name: str, url: str, place: str, remarks: Remarks) -> Body:
    scheme = scheme_of(url)
    if scheme and scheme not in SCHEMES:
        remarks.say(
            "spec.broker",
            f"{place} names a broker by {scheme}://, and Celeriac reads Redis only: move the queues to a Redis first;"
            f" {_make_secret(name)}",
        )
        return _secret(name)
    if re.search(r"\$[({]?\w", url) or broker_url_names_credentials(url):
        why = "is composed of variables" if "$" in url else "holds a user or a password"
        remarks.say("spec.broker", f"the URL of {place} {why}, so that it belongs into a Secret: {_make_secret(name)}")
        return _secret(name)
    if problem := broker_url_problem(url):
        remarks.say("spec.broker.url", problem)
    return {"url": url}


def _of_trigger(name: str, trigger: Body, remarks: Remarks) -> Body:
    """Of {scheme, addresses, database, secret, master}."""
    if trigger["secret"]:
        remarks.say("spec.broker", f"the trigger's Redis has a password: {_make_secret(name)}")
        return _secret(name)
    if trigger.get("master"):
        urls = (f"sentinel://{address}/{trigger['database']}" for address in trigger["addresses"])
        return {"url": ";".join(urls), "sentinelMaster": trigger["master"]}
    return {"url": f"{trigger['scheme']}://{trigger['addresses'][0]}/{trigger['database']}"}


def _secret(name: str) -> Body:
    return {"urlFrom": {"secretKeyRef": {"name": f"{name}-broker", "key": "url"}}}


def _make_secret(name: str) -> str:
    return f"make it by kubectl create secret generic {name}-broker --from-literal=url=redis://:PASSWORD@HOST:6379/0"
