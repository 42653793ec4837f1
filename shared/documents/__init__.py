"""The Firestore documents, as typed records: the one place for field names. The web app reads and writes them too."""

from shared.documents.door import DoorKey, ReconcileRun, RepairedSummary, Scan, ScanPlace, UserSums
from shared.documents.events import Event, Rager, Summary, TicketTier, TicketToken, stocked
from shared.documents.orders import (
    FailedItem,
    FulfilledItem,
    Fulfillment,
    HeldItem,
    Hold,
    ManualTicket,
    OrderItem,
    PendingOrder,
    PromoCode,
    Purchase,
    Refund,
    RefundTotal,
    StripeEvent,
)
from shared.documents.people import Customer, Notification, Profile, TicketTransfer, User, Username
from shared.documents.work import AdminAlert, Job

__all__ = [
    "AdminAlert",
    "Customer",
    "DoorKey",
    "Event",
    "FailedItem",
    "FulfilledItem",
    "Fulfillment",
    "HeldItem",
    "Hold",
    "Job",
    "ManualTicket",
    "Notification",
    "OrderItem",
    "PendingOrder",
    "Profile",
    "PromoCode",
    "Purchase",
    "Rager",
    "ReconcileRun",
    "Refund",
    "RefundTotal",
    "RepairedSummary",
    "Scan",
    "ScanPlace",
    "StripeEvent",
    "Summary",
    "TicketTier",
    "TicketToken",
    "TicketTransfer",
    "User",
    "UserSums",
    "Username",
    "stocked",
]
