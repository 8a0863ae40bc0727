"""What a pool's own workers say of the layout of its queues."""

from celeriac.pool.layouts import effective_layout, is_believable
from celeriac.pool.model import QueueLayout, WorkerPool
from celeriac.workers.worker import Workers


def learned_layout(pool: WorkerPool, workers: Workers, before: QueueLayout | None) -> QueueLayout | None:
    """What the youngest worker of the pool says that reports, where the spec is silent; None: what the spec has.

    Nobody reports at zero replicas: then what was learned before holds. Only Pods that Kubernetes knows as replicas of
    this pool are asked, by what stands under the pool's uid in the broker that it names.
    """
    told = [
        (worker.pod.created, worker.pod.name, worker.report.layout)
        for worker in workers.all
        if worker.is_replica and worker.fresh and worker.report is not None and worker.report.layout is not None
    ]
    believed = [each for each in told if is_believable(each[2])]
    if not believed:
        return before
    layout = effective_layout(pool, max(believed, key=lambda each: each[:2])[2])
    return None if layout == pool.broker.layout else layout
