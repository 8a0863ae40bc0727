"""What a container's command says of a Celery worker: `[tini, --, celery, -A, shop, worker, -Q, mail, -c, "8"]`.

Options are those of `celery` and `celery worker` in Celery 5.3 to 5.7.
"""

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from celeriac.cli.convert.remarks import Body, Remarks

SHELLS: Final = ("sh", "bash", "ash", "dash", "zsh")
PARTS: Final = ("&&", ";", "||", "|", "&")
"""What parts commands in a shell's text."""

WITH_VALUE: Final[Mapping[str, str]] = {
    "-A": "app",
    "--app": "app",
    "-b": "broker",
    "--broker": "broker",
    "-P": "pool",
    "--pool": "pool",
    "-c": "concurrency",
    "--concurrency": "concurrency",
    "-Q": "queues",
    "--queues": "queues",
    "-l": "logLevel",
    "--loglevel": "logLevel",
    "--prefetch-multiplier": "prefetchMultiplier",
    "--max-tasks-per-child": "maxTasksPerChild",
    "--max-memory-per-child": "maxMemoryPerChildKiB",
    "--soft-time-limit": "softTimeLimitSeconds",
    "--time-limit": "timeLimitSeconds",
    "--autoscale": "autoscale",
    "-n": "hostname",
    "--hostname": "hostname",
    "-X": "exclude",
    "--exclude-queues": "exclude",
    "-s": "schedule",
    "--schedule": "schedule",
    "--pidfile": "pidfile",
    "-f": "logfile",
    "--logfile": "logfile",
    "-I": "+",
    "--include": "+",
    "-O": "+",
    "-S": "+",
    "--statedb": "+",
    "--workdir": "workdir",
    "--result-backend": "result backend",
    "--loader": "loader",
    "--config": "config",
    "--uid": "uid",
    "--gid": "gid",
    "--umask": "umask",
    "--executable": "executable",
}
"""Options with a value, and what that is; + for those that stay among the arguments."""

FLAGS: Final[Mapping[str, str]] = {
    "-E": "events",
    "--task-events": "events",
    "--events": "events",
    "-B": "beat",
    "--beat": "beat",
    "-D": "detach",
    "--detach": "detach",
    "--purge": "purge",
    "--discard": "purge",
    "--without-gossip": "",
    "--disable-prefetch": "",
    "-C": "",
    "--no-color": "",
    "-q": "",
    "--quiet": "",
    "--without-mingle": "mingle",
    "--without-heartbeat": "heartbeat",
    "--skip-checks": "",
}

DROPPED: Final[Mapping[str, str]] = {
    "hostname": "-n/--hostname is dropped: each worker is named after its pod",
    "exclude": "-X/--exclude-queues is dropped: name the queues in spec.queues",
    "schedule": "-s/--schedule is dropped: it is for celery beat",
    "pidfile": "--pidfile is dropped: a worker in a container needs none",
    "logfile": "-f/--logfile is dropped: the log goes to the pod's output, where the operator finds the last words",
    "workdir": "--workdir is dropped: set spec.template.spec.workingDir",
    "result backend": "--result-backend is dropped: set it in the app, or CELERY_RESULT_BACKEND in template.spec.env",
    "loader": "--loader is dropped: set CELERY_LOADER in template.spec.env",
    "config": "--config is dropped: set CELERY_CONFIG_MODULE in template.spec.env",
    "uid": "--uid is dropped: set spec.template.spec.securityContext.runAsUser",
    "gid": "--gid is dropped: set spec.template.spec.securityContext.runAsGroup",
    "umask": "--umask is dropped",
    "executable": "--executable is dropped: set spec.launcher",
    "beat": "-B/--beat is dropped, every pod would send every scheduled task: run celery beat in a Deployment of its"
    " own, with one replica",
    "detach": "-D/--detach is dropped: a worker in a container stays in the foreground",
    "purge": "--purge is dropped, every new pod would empty the queues",
    "mingle": "--without-mingle is dropped: a worker that starts with it runs tasks that were revoked",
    "heartbeat": "--without-heartbeat is dropped: heartbeats are how a worker is seen",
}
AIRFLOW: Final = {
    "-q": "-Q",
    "-H": "--hostname",
    "--celery-hostname": "--hostname",
    "-a": "--autoscale",
    "-p": "--pidfile",
    "--pid": "--pidfile",
    "--log-file": "--logfile",
}
"""Options of `airflow celery worker` that Celery spells otherwise."""
AIRFLOW_APP: Final = "airflow.providers.celery.executors.celery_executor:app"
NUMBERS: Final = (
    *("prefetchMultiplier", "maxTasksPerChild", "maxMemoryPerChildKiB", "softTimeLimitSeconds", "timeLimitSeconds"),
)


@dataclass(slots=True)
class Worker:
    """What the command line asks for, by the fields of a pool's spec; `broker` is a URL."""

    launcher: list[str]
    values: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    extra: list[str] = field(default_factory=list)

    def options(self, remarks: Remarks) -> Body:
        """spec.worker."""
        found: Body = {}
        for name in NUMBERS:
            if (number := _number(self.values.get(name), name, remarks)) is not None:
                found[name] = number
        if "events" in self.flags:
            found["events"] = True
        level = self.values.get("logLevel", "INFO").upper()
        if level != "INFO":
            found["logLevel"] = level
        if self.extra:
            found["extraArgs"] = self.extra
        for name in (*self.values, *sorted(self.flags)):
            if name in DROPPED:
                remarks.say("command", DROPPED[name])
        return found

    def concurrency(self, remarks: Remarks) -> int | None:
        """Slots of a pod, where the command says it."""
        if "autoscale" in self.values:
            most = self.values["autoscale"].split(",")[0]
            remarks.say(
                "command", f"--autoscale is dropped, pods are what scales: its most, {most}, is the concurrency"
            )
            return _number(most, "autoscale", remarks)
        return _number(self.values.get("concurrency"), "concurrency", remarks)


def _number(text: str | None, name: str, remarks: Remarks) -> int | None:
    if text is None:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return int(float(text))
    remarks.say("command", f"{name} is {text!r}, which is no number here: set it")
    return None


def worker_of(words: list[str], variables: Mapping[str, str], remarks: Remarks) -> Worker | None:
    """The worker that these words start; None where they start something else. `variables` have plain values."""
    words = [_expanded(word, variables) for word in words]
    if len(words) >= 3 and posixpath.basename(words[0]) in SHELLS and words[1].startswith("-") and "c" in words[1]:
        words = _of_the_shell(words[2], variables, remarks)
    place = next((index for index, word in enumerate(words) if posixpath.basename(word) == "celery"), None)
    if place is None or "worker" not in words[place + 1 :]:
        return None
    worker, rest = Worker(_launcher(words, place)), iter(words[place + 1 :])
    if posixpath.basename(words[place - 1]) == "airflow" and place > 0:
        worker = Worker(["python"], {"app": AIRFLOW_APP})
        rest = iter([AIRFLOW.get(word, word) for word in words[place + 1 :]])
        remarks.say(
            "command", "airflow celery worker also serves logs, which a pool does not: send them to remote storage"
        )
    for word in rest:
        if word != "worker":
            _take(worker, word, rest, remarks)
    return worker


def names_celery(words: Iterable[str]) -> str | None:
    """Which command of Celery's these words start: beat, flower."""
    text = " ".join(words)
    found = re.search(r"\bcelery\b.*\b(beat|flower|events|multi)\b", text)
    return found[1] if found else None


def _expanded(word: str, variables: Mapping[str, str]) -> str:
    """With $(NAME) filled in as a kubelet does, where the value is known."""
    return re.sub(r"\$\((\w+)\)", lambda found: variables.get(found[1], found[0]), word)


def _of_the_shell(text: str, variables: Mapping[str, str], remarks: Remarks) -> list[str]:
    """The one command of a shell's text that starts Celery; it needs no shell."""
    text = re.sub(r"\$\{?(\w+)(?::-([^}]*))?\}?", lambda found: variables.get(found[1], found[2] or found[0]), text)
    text = re.sub(r"\\\n", " ", text).replace("\n", " ; ")
    try:
        words = _shell_words(text)
    except ValueError:
        remarks.say("command", "the shell's text cannot be read: set spec.app, spec.queues and spec.worker")
        return []
    commands: list[list[str]] = [[]]
    for word in words:
        if word in PARTS:
            commands.append([])
        else:
            commands[-1].append(word)
    found = next((each for each in commands if "worker" in each and any("celery" in word for word in each)), [])
    before = [" ".join(each) for each in commands[: commands.index(found)] if each] if found else []
    for other in before:
        remarks.say(
            "command", f"{other!r} ran before the worker and is dropped: put it into template.spec.initContainers"
        )
    while found and (found[0] in ("exec", "env", "nohup") or re.match(r"\w+=", found[0])):
        if "=" in found[0]:
            remarks.say("command", f"{found[0].partition('=')[0]} was set by the shell: set it in template.spec.env")
        found = found[1:]
    return found


def _shell_words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _launcher(words: list[str], place: int) -> list[str]:
    """How Python starts: what stands before `celery`, with the Python that `celery` belongs to."""
    before = words[:place]
    if before[-1:] == ["-m"]:
        return before[:-1]
    folder = posixpath.dirname(words[place])
    return [*before, posixpath.join(folder, "python") if folder else "python"]


def _take(worker: Worker, word: str, rest: Iterator[str], remarks: Remarks) -> None:
    name, equals, value = word.partition("=")
    if word.startswith("--") and equals and name in WITH_VALUE:
        _keep(worker, name, value)
    elif word in WITH_VALUE:
        _keep(worker, word, next(rest, ""))
    elif word in FLAGS:
        worker.flags |= {FLAGS[word]} - {""}
    elif re.match(r"-[A-Za-z].", word) and word[:2] in WITH_VALUE:
        _keep(worker, word[:2], word[2:].removeprefix("="))
    elif re.fullmatch(r"-[A-Za-z]{2,}", word) and all(f"-{letter}" in FLAGS for letter in word[1:]):
        worker.flags |= {FLAGS[f"-{letter}"] for letter in word[1:]} - {""}
    else:
        worker.extra.append(word)
        remarks.say("command", f"{word} is kept in spec.worker.extraArgs, as it is no option that is known here")


def _keep(worker: Worker, name: str, value: str) -> None:
    kept = WITH_VALUE[name]
    if kept == "+":
        worker.extra += [f"-O{value}"] if name == "-O" else [name, value]
    else:
        worker.values[kept] = value
