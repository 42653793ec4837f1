"""How the database is doing, as its callers see it."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class CommitterMetrics:
    """Labels are the names of operations and outcomes, never ids."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "committer_operation_seconds",
            "Time from the request for a state change to its durable result",
            ["operation", "outcome"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
            registry=registry,
        )
        self._attempts = Histogram(
            "committer_operation_attempts",
            "How often an operation was decided before it was through",
            ["operation"],
            buckets=(1, 2, 3, 5, 8, 13),
            registry=registry,
        )
        self._batch = Histogram(
            "committer_batch_operations",
            "Operations that shared one commit",
            buckets=(1, 2, 5, 10, 20, 40),
            registry=registry,
        )
        self._documents = Counter("committer_written_documents", "Documents written by commits", registry=registry)
        self._retries = Counter(
            "committer_retries",
            "Commits tried again, by the kind of failure",
            ["failure"],
            registry=registry,
        )

    def finished(self, operation: str, outcome: str, attempts: int, seconds: float) -> None:
        self._duration.labels(operation, outcome).observe(seconds)
        self._attempts.labels(operation).observe(attempts)

    def committed(self, operations: int, documents: int) -> None:
        self._batch.observe(operations)
        self._documents.inc(documents)

    def retried(self, failure: str) -> None:
        self._retries.labels(failure).inc()
