"""Names of the keys that the agent in the workers and the operator share; docs/agent.md describes the protocol."""

from celeriac.pool.model import QueueLayout


def pools_key(key_prefix: str) -> str:
    """Hash, pool uid -> JSON with namespace and name: every pool that ever had a worker with the agent here."""
    return f"{key_prefix}celeriac:pools"


def processes_key(key_prefix: str, pool_uid: str) -> str:
    """Hash, process -> its registration (JSON)."""
    return f"{key_prefix}celeriac:{pool_uid}:processes"


def reports_key(key_prefix: str, pool_uid: str) -> str:
    """Hash, pod uid -> its agent's last report (JSON)."""
    return f"{key_prefix}celeriac:{pool_uid}:reports"


def drain_key(key_prefix: str, pool_uid: str) -> str:
    """Hash, pod uid -> drain token."""
    return f"{key_prefix}celeriac:{pool_uid}:drain"


def tasks_key(key_prefix: str, pool_uid: str) -> str:
    """Hash, what is counted and the task's name -> how many (celeriac_agent/tally.py)."""
    return f"{key_prefix}celeriac:{pool_uid}:tasks"


def added_key(key_prefix: str, pool_uid: str, process: str) -> str:
    """String, the number of the last batch of counts that a process has added to that hash."""
    return f"{key_prefix}celeriac:{pool_uid}:added:{process}"


def dead_key(key_prefix: str, queue: str) -> str:
    """List of a queue's dead letters, the oldest at the right."""
    return f"{key_prefix}celeriac:dead:{queue}"


def binding_key(key_prefix: str, exchange: str) -> str:
    """The set of an exchange's bindings; that of a queue that Celery makes by itself has the queue's name."""
    return f"{key_prefix}_kombu.binding.{exchange}"


def list_key(layout: QueueLayout, queue: str, step: int) -> str:
    """One list of a queue (kombu's Channel._q_for_pri)."""
    return f"{layout.key_prefix}{queue}{layout.separator}{step}" if step else f"{layout.key_prefix}{queue}"
