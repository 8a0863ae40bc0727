"""The few lines of Python that a worker's container runs before Celery: `<launcher> -c BOOTSTRAP -A <app> worker ...`.

They run in the image's own Python, of any version that Celery 5.3 or later runs on.

- `ready` outlives a container (the volume belongs to the pod), so the first thing is to remove an old one. It names
  its process, pid and start, so that the probe is not taken in by one of a container before.
- The kernel drops a signal that PID 1 has no handler for. Until Celery has its own, which in a large application is
  seconds later, one ends the process: nothing has been taken from a queue yet.
- The probe is a script for the very interpreter that runs this: what is before it in the launcher, which may wait or
  migrate a database, runs once for each start. (A shebang cannot hold a path with a space, and 127 bytes at most on
  old kernels; such an interpreter is called through a link, which a virtual environment of copied files does not bear.)
- `python -c` puts the working directory first on sys.path, where a user's queue.py or celery.py would hide the real
  one. The `celery` script puts it there only while it imports the app. At the end of the path it hides nothing.
- gevent and eventlet patch Python; nothing that they patch may be imported before. `main` does the same once more,
  to no effect.
- A failure to mark the worker ready leaves the pod unready, which can be seen; it never stops the worker.
- Celery's command line also reads its options from variables (CELERY_WORKER_...), which an image, `envFrom` or an
  entrypoint may bring. What spec.worker.extraArgs refuses is dropped there.
- An init that sends SIGTERM to the whole process group (dumb-init, tini -g, a shell with `kill 0`) would stop prefork's
  children with the tasks that they run: each child leaves for a group of its own. billiard expects either; at a hard
  time limit it kills the group, with what the task started itself.
- The agent is found at the very end of the path, where it hides nothing either.
"""

from collections.abc import Mapping
from typing import Final

from celeriac.resources.agent import AGENT_DIR, AGENT_MODULE

RUN_DIR: Final = "/run/celeriac"
RUN_DIR_VARIABLE: Final = "CELERIAC_RUN_DIR"
PROBE: Final = f"{RUN_DIR}/probe"

DROPPED: Final[Mapping[str, str]] = {
    "CELERY_WORKER_PURGE": "every new pod would empty the queues",
    "CELERY_WORKER_BEAT": "every pod would send every scheduled task",
    "CELERY_WORKER_DETACH": "a worker in a container stays in the foreground",
    "CELERY_WORKER_PIDFILE": "a worker in a container needs none",
    "CELERY_WORKER_WITHOUT_HEARTBEAT": "heartbeats are how a worker is seen",
    "CELERY_WORKER_AUTOSCALE": "pods are what scales: set spec.concurrency and spec.scaling",
    "CELERY_WORKER_HOSTNAME": "each worker is named after its pod",
    "CELERY_WORKER_EXCLUDE_QUEUES": "leave the queue out of spec.queues",
    "REMAP_SIGTERM": "running tasks would be lost when a pod stops",
}
"""Variables that would break a promise, and why. What the command line says anyway (-A -P -c -Q -l) needs no line."""

# Looks for the process of which `ready` tells. Python's -I and -S: nothing of the user's (site-packages with their .pth
# files) is read, which also makes it cheap.
_CHECK = """\
import os, sys
try:
    pid, start = open(os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "ready")).read().split()
    with open("/proc/%s/stat" % pid) as stat:
        ready = stat.read().rsplit(")", 1)[1].split()[19] == start
except (OSError, ValueError, IndexError):
    ready = False
if not ready:
    sys.exit("the worker does not consume yet: see its log")
"""

_DROPPED = "".join(f'    "{name}": "{why}",\n' for name, why in DROPPED.items())

_PREPARE = f"""\
import os, signal, sys

signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

CHECK = '''\\
{_CHECK}'''
DROPPED = {{
{_DROPPED}}}
run_dir = os.environ["{RUN_DIR_VARIABLE}"]
ready = os.path.join(run_dir, "ready")

def forget_ready(**_):
    try:
        os.remove(ready)
    except OSError:
        pass

def mark_ready(**_):
    try:
        with open("/proc/self/stat") as stat, open(ready, "w") as file:
            file.write("%d %s" % (os.getpid(), stat.read().rsplit(")", 1)[1].split()[19]))
    except OSError as error:
        sys.stderr.write("celeriac: this worker cannot be marked ready: %s\\n" % error)

def make_probe():
    python, probe = sys.executable or os.readlink("/proc/self/exe"), os.path.join(run_dir, "probe")
    if " " in python or len(python) > 100:
        link = os.path.join(run_dir, "python")
        if os.path.lexists(link):
            os.remove(link)
        os.symlink(python, link)
        python = link
    with open(probe + ".new", "w") as file:
        file.write("#!%s -IS\\n%s" % (python, CHECK))
    os.chmod(probe + ".new", 0o755)
    os.replace(probe + ".new", probe)

def leave_group(**_):
    try:
        os.setpgid(0, 0)
    except OSError as error:
        sys.stderr.write("celeriac: this child stays in its worker's process group: %s\\n" % error)

forget_ready()
try:
    make_probe()
except OSError as error:
    sys.stderr.write("celeriac: this worker cannot be probed: %s\\n" % error)
for name, why in DROPPED.items():
    if os.environ.pop(name, None):
        sys.stderr.write("celeriac: the variable %s is dropped: %s\\n" % (name, why))
sys.argv[0] = "celery"
if "" in sys.path:
    sys.path.remove("")
    sys.path.append("")
"""
# A command line that names the agent to be included hides CELERY_WORKER_INCLUDE, by which an image may name its tasks.
_FIND_AGENT = f"""\
sys.path.append("{AGENT_DIR}")
if "{AGENT_MODULE}" in sys.argv and os.environ.get("CELERY_WORKER_INCLUDE"):
    sys.argv[sys.argv.index("{AGENT_MODULE}")] += "," + os.environ["CELERY_WORKER_INCLUDE"]
"""
_START = """
from celery import maybe_patch_concurrency
maybe_patch_concurrency()

from celery.signals import worker_process_init, worker_ready, worker_shutting_down
worker_ready.connect(mark_ready, weak=False)
worker_shutting_down.connect(forget_ready, weak=False)
worker_process_init.connect(leave_group, weak=False)

from celery.__main__ import main
main()
"""
BOOTSTRAP: Final = _PREPARE + _START
AGENT_BOOTSTRAP: Final = _PREPARE + _FIND_AGENT + _START
