"""Where documents live. Paths are relative to the database's root: ``events/e1/ragers/r1``."""

import re
from typing import Final

_RESERVED: Final = re.compile(r"__.*__", re.DOTALL)
MAX_ID_BYTES: Final = 1_500


def is_document_id(text: str) -> bool:
    """Whether Firestore takes the text as one document id.

    Source: https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can smuggle in
        return False
    return 0 < size <= MAX_ID_BYTES and "/" not in text and text not in {".", ".."} and not _RESERVED.fullmatch(text)


def event(event_id: str) -> str:
    return f"events/{event_id}"


def ragers(event_id: str) -> str:
    """The collection."""
    return f"events/{event_id}/ragers"


def rager(event_id: str, rager_id: str) -> str:
    return f"events/{event_id}/ragers/{rager_id}"


def scan(event_id: str, scan_id: str) -> str:
    return f"events/{event_id}/scans/{scan_id}"


def unplaced_scan(scan_id: str) -> str:
    """The denial of a scan that named no event and whose ticket is unknown, so that it belongs to none."""
    return f"unplacedScans/{scan_id}"


def ticket_token(token: str) -> str:
    return f"ticketTokens/{token}"


def summaries(event_id: str) -> str:
    """The collection of one event's summaries, one document a user."""
    return f"eventUsers/{event_id}/users"


def summary(event_id: str, user_id: str) -> str:
    return f"eventUsers/{event_id}/users/{user_id}"


def door_key(key_id: str) -> str:
    return f"doorKeys/{key_id}"


def reconcile_run(event_id: str, run_id: str) -> str:
    return f"reconciliations/{event_id}/runs/{run_id}"


def fulfillment(payment_intent_id: str) -> str:
    return f"fulfillments/{payment_intent_id}"


def pending_order(payment_intent_id: str) -> str:
    return f"pendingOrders/{payment_intent_id}"


def promo_codes(code: str) -> tuple[str, str]:
    """Where a code's document can be, the first that exists counts."""
    return f"promoCodes/{code}", f"promoterCodes/{code}"


def purchase(order_number: str) -> str:
    return f"purchases/{order_number}"


def customer(user_id: str) -> str:
    return f"customers/{user_id}"


def customer_purchase(user_id: str, order_number: str) -> str:
    return f"customers/{user_id}/purchases/{order_number}"


def ticket_transfer(transfer_id: str) -> str:
    return f"ticketTransfers/{transfer_id}"


def manual_ticket(ticket_id: str) -> str:
    return f"manualTickets/{ticket_id}"


def user(user_id: str) -> str:
    return f"users/{user_id}"


def notification(user_id: str, notification_id: str) -> str:
    return f"users/{user_id}/notifications/{notification_id}"


def username(name_lower: str) -> str:
    return f"usernames/{name_lower}"


def profile(user_id: str) -> str:
    return f"profiles/{user_id}"


def admin_user(user_id: str) -> str:
    return f"adminUsers/{user_id}"


def admin_alert(alert_id: str) -> str:
    return f"adminAlerts/{alert_id}"


def job(job_id: str) -> str:
    return f"jobs/{job_id}"


def hold(payment_intent_id: str) -> str:
    return f"holds/{payment_intent_id}"


def refunds(payment_intent_id: str) -> str:
    """The collection of one order's refunds."""
    return f"fulfillments/{payment_intent_id}/refunds"


def refund(payment_intent_id: str, key: str) -> str:
    return f"fulfillments/{payment_intent_id}/refunds/{key}"


def stripe_event(stripe_event_id: str) -> str:
    return f"stripeEvents/{stripe_event_id}"
