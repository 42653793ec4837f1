"""Which service answers a path. The first segment decides, so a new route of a known family needs no change here."""

from collections.abc import Mapping
from typing import Final

SEGMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "checkout": (
        "create-payment-intent",
        "create-customer",
        "finalize-order",
        "manual-create-ticket",
        "resend-receipt",
        "my-receipts",
        "transfer-ticket",
        "transfer-preview",
        "claim-ticket",
        "cancel-transfer",
        "refund-order",
        "claim-guest-tickets",
        "validate-promo-code",
        "stripe",
    ),
    "scanning": (
        "scan-ticket",
        "reconcile-event-users",
        "inventory-drift",
        "backfill-ticket-tokens",
        "door-keys",
        "events",
    ),
    "social": ("posts", "follows", "feeds", "usernames", "firestore-events"),
}

SERVICES: Final = tuple(SEGMENTS)


def service_of(path: str) -> str | None:
    """The service that answers ``path``, None for one that no service has."""
    first = path.lstrip("/").partition("/")[0]
    return next((service for service, segments in SEGMENTS.items() if first in segments), None)
