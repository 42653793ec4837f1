"""How often each route may be asked: the one table.

Selling is limited by buyer, and by address only where one is far beyond what a whole campus behind it would do: the
numbers stop a program that runs away. What mails strangers or lets somebody guess is limited by address too.

Limits for one client need ``TRUSTED_PROXY_HOPS`` (``by_known_client``). Where guessing would be free without it, there
is a wider one for whoever connects to us (``by_client``), which all clients of a proxy share then.
"""

from typing import Final

from shared.rate_limits import Limit, by_client, by_field, by_known_client, together

_BUYER: Final = by_field("firebase_id", "guest_email")
_SENDER: Final = by_field("sender_user_id")
_RECIPIENT: Final = by_field("recipient_email", "recipient_username")

START_PAYMENT: Final = (
    Limit("start_payment", "300/minute", _BUYER),
    Limit("start_payment_by_client", "3000/hour", by_known_client),
)
"""Each sets tickets aside. One buyer can have only so many (MAX_HELD_PER_BUYER), but it costs nothing to be many."""
FINALIZE: Final = (Limit("finalize", "600/minute", _BUYER),)
CREATE_CUSTOMER: Final = (Limit("create_customer", "60/minute", by_field("uid", "email")),)
VALIDATE_PROMO_CODE: Final = (
    Limit("validate_promo_code", "60/minute", by_known_client),
    Limit("validate_promo_code_by_proxy", "3000/minute", by_client),
)
MY_RECEIPTS: Final = (
    Limit("my_receipts_by_client", "60/hour", by_known_client),
    Limit("my_receipts_by_proxy", "6000/hour", by_client),
    Limit("my_receipts_to", "5/hour", by_field("email")),
)
TRANSFER: Final = (
    Limit("transfer", "60/minute", _SENDER),
    Limit("transfers_of_a_day", "200/day", _SENDER),
    Limit("transfers_to_one", "10/day", together(_SENDER, _RECIPIENT)),
    Limit("transfers_to", "100/day", _RECIPIENT),
)
"""Each mails an address of the sender's choice, and one ticket can be sent and taken back any number of times. What one
recipient gets from everybody is limited widely: nobody should be able to use up what their friends may send them.
"""
CLAIM: Final = (Limit("claim", "120/minute", by_field("claimer_user_id")),)
"""By account: nobody guesses a token of 192 bits, so it only stops a program that runs away."""
CLAIM_GUEST_TICKETS: Final = (Limit("claim_guest_tickets", "60/minute", by_field("user_id")),)
