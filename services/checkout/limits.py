"""How often each route may be asked: the one table.

Selling is limited by buyer and never by address, because a whole campus may buy behind one: the numbers only stop a
program that runs away. What mails strangers or lets somebody guess is limited by address too.
"""

from typing import Final

from shared.rate_limits import Limit, by_client, by_field

_BUYER: Final = by_field("firebase_id", "guest_email")

START_PAYMENT: Final = (Limit("start_payment", "300/minute", _BUYER),)
FINALIZE: Final = (Limit("finalize", "600/minute", _BUYER),)
CREATE_CUSTOMER: Final = (Limit("create_customer", "60/minute", by_field("uid", "email")),)
VALIDATE_PROMO_CODE: Final = (Limit("validate_promo_code", "60/minute", by_client),)
MY_RECEIPTS: Final = (
    Limit("my_receipts_by_client", "60/hour", by_client),
    Limit("my_receipts_to", "5/hour", by_field("email")),
)
TRANSFER: Final = (Limit("transfer", "60/minute", by_field("sender_user_id")),)
"""Each mails an address of the sender's choice, and needs a ticket that is not on its way already."""
CLAIM: Final = (Limit("claim", "120/minute", by_client),)
CLAIM_GUEST_TICKETS: Final = (Limit("claim_guest_tickets", "60/minute", by_field("user_id")),)
