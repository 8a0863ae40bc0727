"""What can go wrong around a pool, in the words of Redis, the network and Kubernetes, and what a person then reads.

docs/troubleshooting.md shows it; `make generate` writes it there, and a unit test holds the two identical. The words
are what the real programs say; those that a real Redis or TLS server can be brought to say cheaply are held to it by
tests/integration/test_broker_situations.py.
"""

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from celeriac.brokers.dialing.policy import AddressPolicy, BrokerPattern, NotAllowed
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.errors import doubt_of
from celeriac.brokers.redis.greeting import doubt_by_greeting, needs_tls
from celeriac.cluster.problems import problem_of
from celeriac.cluster.refusals import refused_pod

PAGE: Final = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
TABLE: Final = re.compile(r"(<!-- situations of (\w+), by make generate -->\n).*?(<!-- end -->\n)", re.DOTALL)
WHERE: Final = "Redis at redis.shop:6379"


@dataclass(frozen=True)
class Situation:
    """One thing that goes wrong, and the condition that tells of it."""

    what: str
    reason: str
    message: str


REPLIES: Final = {
    "the URL has no password, Redis asks for one": "NOAUTH Authentication required.",
    "wrong user or password, or the ACL user is off": ("WRONGPASS invalid username-password pair or user is disabled."),
    "wrong password, before Redis 6": "ERR invalid password",
    "the URL has a password, Redis asks for none": (
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your"
        " configuration is correct?"
    ),
    "protected mode": "DENIED Redis is running in protected mode because protected mode is enabled",
    "too many clients": "ERR max number of clients reached",
    "the plan of a managed Redis is used up": "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000.",
    "a managed Redis admits known addresses only": "ERR Client IP address is not in the allowlist.",
    "Redis starts": "LOADING Redis is loading the dataset in memory",
    "a replica": "READONLY You can't write against a read only replica.",
    "a replica without its master": (
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    ),
    "the disk of Redis is full": (
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."
    ),
    "the memory of Redis is full": "OOM command not allowed when used memory > 'maxmemory'.",
    "too few replicas of Redis": "NOREPLICAS Not enough good replicas to write.",
    "a script runs for long": (
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
    ),
    "a function runs for long": (
        "BUSY Redis is busy running a function. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
    ),
    "a Redis Cluster": "MOVED 3999 10.0.0.7:6379",
    "a Redis Cluster that is down": "CLUSTERDOWN The cluster is down",
    "a Redis Cluster, another database than 0": "ERR SELECT is not allowed in cluster mode",
    "no such database": "ERR DB index is out of range",
    "a command was renamed, or the server is too old": (
        "ERR unknown command 'HRANDFIELD', with args beginning with: 'unacked' '500' "
    ),
    "sentinel:// leads to a plain Redis": "ERR unknown command 'SENTINEL', with args beginning with: 'MASTERS' ",
    "words that nobody foresaw": "ERR handle request error",
}
NETWORK: Final[dict[str, BaseException]] = {
    "no such host name": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "the DNS does not answer": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "a host that is no name": UnicodeError("label empty or too long"),
    "nothing listens": ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.7', 6379)"),
    "no route": OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.7', 6379)"),
    "the kernel gave up": TimeoutError(errno.ETIMEDOUT, "Connect call failed ('10.0.0.7', 6379)"),
    "a connection that is reset": ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "a unix socket of another Pod": FileNotFoundError(errno.ENOENT, "No such file or directory"),
}
DENIED: Final = {
    "localhost, which is the operator's own": (AddressPolicy(), "127.0.0.1"),
    "a metadata service of a cloud": (AddressPolicy(), "169.254.169.254"),
    "the API server": (AddressPolicy(api_server=frozenset({ip_address("10.96.0.1")})), "10.96.0.1"),
    "a broker that the platform has not listed": (AddressPolicy((BrokerPattern.parse("10.1.0.0/16"),)), "10.2.0.1"),
}
TIMES: Final = {
    "packets are dropped": "Timeout connecting to server",
    "Redis hangs or is overloaded": "Timeout reading from redis.shop:6379",
}
GREETINGS: Final = {
    "the port of an SSH server": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    "the port of a web server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "the port of RabbitMQ": b"AMQP\x00\x00\x09\x01",
    "the port of a mail server": b"220 mail.example ESMTP\r\n",
    "the port of MySQL": b"J\x00\x00\x00\x0a8.0.33\x00",
    "the port of something unknown": b"\x1b[31mno Redis\r\n",
}
CERTIFICATES: Final = {
    "a certificate that signed itself": 18,
    "a certificate of an unknown authority": 19,
    "a certificate without its chain": 21,
    "a certificate that has expired": 10,
    "a certificate of tomorrow": 9,
    "a certificate without the name that is dialled": 62,
    "a certificate without the address that is dialled": 64,
    "a certificate that is not for servers": 26,
}
HANDSHAKES: Final = {
    "redis:// and rediss:// mixed up: no TLS on the port": "WRONG_VERSION_NUMBER",
    "a client certificate is asked for": "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "a client certificate that Redis does not trust": "TLSV1_ALERT_UNKNOWN_CA",
    "a client certificate that has expired": "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "TLS versions that do not meet": "TLSV1_ALERT_PROTOCOL_VERSION",
    "no common cipher": "SSLV3_ALERT_INSUFFICIENT_SECURITY",
    "a proxy hangs up amid the handshake": "UNEXPECTED_EOF_WHILE_READING",
}

WAITING: Final = {
    "an image that does not exist": (
        "ErrImagePull",
        'failed to resolve reference "docker.io/library/app:nope": docker.io/library/app:nope: not found',
    ),
    "an image that may not be pulled": (
        "ImagePullBackOff",
        'Back-off pulling image "reg.example/app:1": ErrImagePull: pull access denied, repository does not exist or may'
        " require authorization: server message: insufficient_scope: authorization failed",
    ),
    "a registry that counts pulls": (
        "ErrImagePull",
        "toomanyrequests: You have reached your unauthenticated pull rate limit",
    ),
    "a registry that is not known": (
        "ErrImagePull",
        'failed to do request: Head "https://reg.example/v2/app/manifests/1": dial tcp: lookup reg.example: no such'
        " host",
    ),
    "a registry that is not reached": (
        "ErrImagePull",
        'failed to do request: Head "https://reg.example/v2/app/manifests/1": dial tcp 10.0.0.9:443: i/o timeout',
    ),
    "a registry that is not trusted": (
        "ErrImagePull",
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    ),
    "an image of another CPU": ("ErrImagePull", "no match for platform in manifest: not found"),
    "no image reference": (
        "InvalidImageName",
        'Failed to apply default image tag "App:1": couldn\'t parse image name "App:1": invalid reference format',
    ),
    "an image that is to be there, and is not": (
        "ErrImageNeverPull",
        'Container image "app:1" is not present with pull policy of Never',
    ),
    "a Secret that is missing": ("CreateContainerConfigError", 'secret "broker" not found'),
    "a ConfigMap that is missing": ("CreateContainerConfigError", 'configmap "settings" not found'),
    "a key that is missing": ("CreateContainerConfigError", "couldn't find key url in Secret shop/broker"),
    "the image's USER is a name, under Restricted": (
        "CreateContainerConfigError",
        "container has runAsNonRoot and image has non-numeric user (celery), cannot verify user is non-root",
    ),
    "the image runs as root, under Restricted": (
        "CreateContainerConfigError",
        "container has runAsNonRoot and image will run as root",
    ),
    "runAsUser is 0, and runAsNonRoot is set": (
        "CreateContainerConfigError",
        "container's runAsUser breaks non-root policy",
    ),
    "no such program in the image": (
        "RunContainerError",
        'exec: "python": executable file not found in $PATH: unknown',
    ),
    "a program that may not be executed": ("RunContainerError", 'exec: "/app/start.sh": permission denied: unknown'),
    "a program of another CPU": ("RunContainerError", "exec /app/python: exec format error"),
    "no such working directory": (
        "RunContainerError",
        'chdir to cwd ("/srv/app") set in config.json failed: no such file or directory: unknown',
    ),
    "a file is mounted onto a folder": (
        "RunContainerError",
        'error mounting "/x" to rootfs at "/app/settings.py": not a directory: Are you trying to mount a directory'
        " onto a file (or vice-versa)?",
    ),
    "less memory than a start needs": (
        "RunContainerError",
        "container init was OOM-killed (memory limit too low?): unknown",
    ),
}
LAST_WORDS: Final = {
    "a module of the app is missing": "ModuleNotFoundError: No module named 'myproject'",
    "spec.app names a module that is not there": (
        "Error: Invalid value for '-A' / '--app': \nUnable to load celery application.\nThe module myproject was not"
        " found."
    ),
    "spec.app names no app": (
        "Error: Invalid value for '-A' / '--app': \nUnable to load celery application.\nModule 'proj' has no attribute"
        " 'celery'"
    ),
    "the image has no gevent": "ModuleNotFoundError: No module named 'gevent'",
    "packages that do not go together": "ImportError: cannot import name 'Redis' from 'redis' (/x/redis/__init__.py)",
    "code for another Python": "SyntaxError: invalid syntax",
    "a variable that the app needs": "KeyError: 'DATABASE_URL'",
    "a setting that Django needs": (
        "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty."
    ),
    "Celery does not know an option": "Error: No such option: --frob",
    "Celery refuses the value of an option": (
        "Error: Invalid value for '-c' / '--concurrency': 'x' is not a valid integer."
    ),
    "the app's URL names no transport": "KeyError: 'No such transport: foo'",
    "a script finds no celery": "/app/start.sh: line 3: celery: command not found",
    "a script finds a program of another CPU": "/app/start.sh: line 3: /app/bin: cannot execute: Exec format error",
    "a library that is linked to is missing": (
        "python: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file or"
        " directory"
    ),
    "a folder that may not be written": "OSError: [Errno 30] Read-only file system: '/app/cache'",
    "a file that may not be read": "PermissionError: [Errno 13] Permission denied: '/app/settings.toml'",
    "the app connects while it starts": (
        'django.db.utils.OperationalError: connection to server at "db" (10.0.0.9), port 5432 failed: Connection'
        " refused"
    ),
    "the app looks a host up while it starts": "socket.gaierror: [Errno -2] Name or service not known",
    "no thread can be started": "RuntimeError: can't start new thread",
}
"""The end of the log of a worker that ended with code 1 (an exception: behind the frames of its traceback)."""
FRAMES: Final = 'Traceback (most recent call last):\n  File "/app/proj.py", line 1, in <module>\n    start()\n'
EXITS: Final = {
    "out of memory": (137, "OOMKilled"),
    "the worker is killed": (137, "Error"),
    "the worker ends by itself": (0, "Completed"),
    "the application fails": (1, "Error"),
    "Celery refuses an option": (2, "Error"),
    "a script may not run a program": (126, "Error"),
    "a script finds no program": (127, "Error"),
    "a library crashes": (139, "Error"),
    "the worker is told to go": (143, "Error"),
    "another exit code": (42, "Error"),
}
NODES: Final = "0/3 nodes are available: "
SCHEDULER: Final = {
    "no room: CPU and memory": NODES + "2 Insufficient cpu, 3 Insufficient memory.",
    "no GPU": NODES + "3 Insufficient nvidia.com/gpu.",
    "a taint": NODES + "3 node(s) had untolerated taint {dedicated: batch}.",
    "no node of the selector": NODES + "3 node(s) didn't match Pod's node affinity/selector.",
    "a volume of another zone": NODES + "1 Insufficient cpu, 2 node(s) had volume node affinity conflict.",
    "a volume that is not there": NODES + 'persistentvolumeclaim "models" not found.',
    "a volume that nobody makes": NODES + "pod has unbound immediate PersistentVolumeClaims.",
    "each Pod wants a node of its own": NODES + "3 node(s) didn't match pod anti-affinity rules.",
    "no zone is left": NODES + "3 node(s) didn't match pod topology spread constraints.",
    "nodes that are cordoned": NODES + "3 node(s) were unschedulable.",
    "no node at all": "no nodes available to schedule pods",
}
ADMISSION: Final = {
    "a quota of Pods": "exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=4",
    "a quota of CPU": (
        "exceeded quota: small, requested: requests.cpu=2, used: requests.cpu=3, limited: requests.cpu=4"
    ),
    "a quota asks for limits": ("failed quota: small: must specify limits.cpu for: worker; limits.memory for: worker"),
    "a LimitRange, too much": "maximum memory usage per Container is 1Gi, but limit is 4Gi",
    "a LimitRange, too little": "minimum cpu usage per Container is 100m, but request is 10m",
    "a LimitRange asks for a limit": "maximum memory usage per Container is 1Gi.  No limit is specified",
    "a LimitRange, the ratio": "cpu max limit to request ratio per Container is 2, but provided ratio is 8.000000",
    "Pod security, the worker": (
        'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "worker" must set'
        " securityContext.allowPrivilegeEscalation=false), runAsNonRoot != true"
    ),
    "Pod security, a volume": ('violates PodSecurity "baseline:latest": hostPath volumes (volume "docker")'),
    "a policy": 'admission webhook "validate.kyverno.svc" denied the request: label team is missing',
    "a policy of Kubernetes' own": (
        "ValidatingAdmissionPolicy 'owners' with binding 'owners' denied request: label team is missing"
    ),
    "a webhook that is away": (
        'failed calling webhook "mutate.istio.io": failed to call webhook: connect: connection refused'
    ),
    "no such ServiceAccount": 'error looking up service account shop/ml: serviceaccount "ml" not found',
    "no such PriorityClass": "no PriorityClass with name urgent was found",
    "no such RuntimeClass": 'pod rejected: RuntimeClass "gvisor" not found',
    "the namespace goes": "unable to create new content in namespace shop because it is being terminated",
}

parse_error: Final[Any] = BaseParser.parse_error  # untyped


def broker_situations() -> Iterator[Situation]:
    """Condition BrokerReachable."""
    for what, reply in REPLIES.items():
        yield _doubt(what, doubt_of(parse_error(reply), WHERE))
    for what, cause in NETWORK.items():
        yield _doubt(what, doubt_of(_caused(cause), WHERE))
    for what, (policy, address) in DENIED.items():
        yield _doubt(what, doubt_of(_caused(_refusal(policy, address)), WHERE))
    for what, words in TIMES.items():
        yield _doubt(what, doubt_of(RedisTimeoutError(words), WHERE))
    for what, greeting in GREETINGS.items():
        found = doubt_by_greeting(greeting, WHERE, tls=False)
        assert found is not None, what
        yield _doubt(what, found)
    yield _doubt("redis:// and rediss:// mixed up: TLS on the port", needs_tls(WHERE))
    for what, code in CERTIFICATES.items():
        untrusted = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
        untrusted.verify_code = code
        yield _doubt(what, doubt_of(_caused(untrusted), WHERE))
    for what, name in HANDSHAKES.items():
        failed = ssl.SSLError(1, f"[SSL: {name}] {name.lower().replace('_', ' ')} (_ssl.c:1006)")
        yield _doubt(what, doubt_of(_caused(failed), WHERE))


def pod_situations() -> Iterator[Situation]:
    """Condition Ready, by the Pods' status."""
    for what, words in SCHEDULER.items():
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
        yield _problem(what, {"conditions": [unscheduled]})
    for what, (reason, words) in WAITING.items():
        yield _problem(what, _worker(state={"waiting": {"reason": reason, "message": words}}))
    ends = [(what, code, reason, "") for what, (code, reason) in EXITS.items()]
    ends += [(what, 1, "Error", _log(words)) for what, words in LAST_WORDS.items()]
    for what, code, reason, log in ends:
        backing_off = {"waiting": {"reason": "CrashLoopBackOff"}}
        ended = {"terminated": {"exitCode": code, "reason": reason, "message": log}}
        yield _problem(what, _worker(state=backing_off, lastState=ended, restartCount=5))


def admission_situations() -> Iterator[Situation]:
    """Condition Ready, by what the API server says when a Pod is to be made."""
    for what, words in ADMISSION.items():
        yield Situation(what, *refused_pod(f'pods "ml-7d9c5-x2x9z" is forbidden: {words}'))


def _refusal(policy: AddressPolicy, address: str) -> NotAllowed:
    try:
        policy.permitted("redis.shop", 6379, [ip_address(address)])
    except NotAllowed as error:
        return error
    raise AssertionError(f"{address} is allowed")


def _caused(cause: BaseException) -> RedisConnectionError:
    """As redis-py tells of it: the text of another exception, and that one behind it."""
    error = RedisConnectionError(f"Error connecting to redis.shop:6379. {cause}")
    error.__context__ = cause
    return error


def _doubt(what: str, doubt: BrokerDoubt) -> Situation:
    return Situation(what, doubt.reason, str(doubt))


def _worker(**status: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "worker", "ready": False, "restartCount": 0, **status}]}


def _log(words: str) -> str:
    """What click says stands behind its usage, an exception behind the frames of its traceback."""
    return words if words.startswith(("Error: No", "Error: Invalid", "/", "python")) else FRAMES + words


def _problem(what: str, status: dict[str, Any]) -> Situation:
    problem = problem_of(status)
    assert problem is not None, what
    return Situation(what, problem.reason, problem.message)


PARTS: Final = {"brokers": broker_situations, "pods": pod_situations, "admission": admission_situations}


def page_with_situations(page: str) -> str:
    """The page with all tables as the program speaks now."""
    return TABLE.sub(lambda found: f"{found[1]}{table(found[2])}{found[3]}", page)


def table(part: str) -> str:
    """One part; each row begins with what goes wrong."""
    rows = (f"| {each.what} | `{each.reason}` | {each.message.replace('|', '&#124;')} |" for each in PARTS[part]())
    return "\n".join(["| what goes wrong | reason | what you read |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page_with_situations(PAGE.read_text()))
