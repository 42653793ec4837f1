"""What only a person can decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.documents import AdminAlert, PendingOrder
from shared.firestore import paths
from shared.operations import Decision, Documents, Merge, Put, Write


@dataclass(frozen=True, slots=True)
class RaiseReview:
    """Close a remembered order as ``status`` and tell a person why; the alert is the marker."""

    payment_intent_id: str
    order_path: str | None
    status: str
    message: str
    now: datetime

    @property
    def lane(self) -> str:
        return self._alert_path

    @property
    def _alert_path(self) -> str:
        return paths.admin_alert(f"payment-{self.payment_intent_id}")

    def reads(self) -> Sequence[str]:
        return (self._alert_path, *([self.order_path] if self.order_path else []))

    def decide(self, docs: Documents) -> Decision[None]:
        writes: list[Write] = []
        if not docs[self._alert_path].exists:
            alert = AdminAlert(
                path=self._alert_path,
                kind="payment_needs_review",
                message=f"Payment {self.payment_intent_id}: {self.message}",
                subject=self.order_path or paths.fulfillment(self.payment_intent_id),
                created_at=self.now,
            )
            writes.append(Put(alert.path, alert.fields()))
        if self.order_path and docs[self.order_path].exists:
            writes.append(Merge(self.order_path, PendingOrder.patch(status=self.status)))
        return Decision(None, writes)
