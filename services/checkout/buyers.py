"""Who buys: an account or a guest, never both."""

from dataclasses import dataclass
from typing import Final, Self

from services.checkout.payments import Payment
from shared.errors import Forbidden

_USER: Final = "firebaseId"
_GUEST: Final = "guestEmail"


class PaymentOwnerMismatch(Forbidden):
    code = "payment_owner_mismatch"


@dataclass(frozen=True, slots=True)
class Buyer:
    """``user_id`` for an account, ``guest_email`` for a guest. ``email`` is where mail goes."""

    user_id: str | None
    guest_email: str | None
    email: str | None
    name: str | None

    @classmethod
    def of(cls, payment: Payment) -> Self:
        """The buyer as the payment remembers them."""
        guest = payment.metadata.get(_GUEST)
        return cls(payment.metadata.get(_USER), guest, payment.receipt_email or guest, None)

    def metadata(self) -> dict[str, str]:
        """How a PaymentIntent remembers whose it is."""
        known = {_USER: self.user_id, _GUEST: self.guest_email}
        return {key: value for key, value in known.items() if value}

    def check_owns(self, payment: Payment) -> None:
        """Raises PaymentOwnerMismatch unless the payment says that it is this buyer's.

        One that names nobody was made for something else, whatever it costs.
        """
        user, guest = payment.metadata.get(_USER), payment.metadata.get(_GUEST)
        owned = self.user_id == user if user else _same(self.guest_email, guest)
        if not owned:
            raise PaymentOwnerMismatch("This payment belongs to somebody else.")


def _same(one: str | None, other: str | None) -> bool:
    """Whether two addresses are one mailbox, as people type it."""
    return bool(one and other) and str(one).casefold() == str(other).casefold()
