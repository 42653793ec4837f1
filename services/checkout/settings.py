"""What the checkout service is configured with, beyond what every service is."""

from decimal import Decimal
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field, SecretStr

from shared.config import Settings


class CheckoutSettings(Settings):
    stripe_secret: SecretStr | None = None
    """Without it nothing can be paid for: those routes answer 503 ``stripe_disabled``."""
    stripe_webhook_secret: SecretStr | None = None
    """Several, comma separated, while one is being rotated."""
    stripe_api_base: str = "https://api.stripe.com"

    resend_api_key: SecretStr | None = None
    resend_api_url: str = "https://api.resend.com"
    email_from: str = "Tickets <tickets@example.com>"
    public_site_url: str = "http://localhost:3000"

    firebase_database_url: str | None = None
    """The Realtime Database that mirrors Stripe customer ids; no mirror without it."""

    transfer_ttl_hours: Annotated[float, Field(gt=0, le=24 * 90)] = 72
    """How long a transfer may be claimed."""
    claim_token_secret: SecretStr | None = None
    """What claim tokens follow from, the same in all replicas. Without it each process has one of its own."""

    sales_tax_percent: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(0)
    hold_minutes: Annotated[float, Field(ge=0, le=24 * 60)] = 0
    """How long tickets are set aside for a payment; 0 switches holds off."""
    max_held_per_buyer: Annotated[int, Field(ge=1)] | None = None
    """Tickets of one event that one buyer may have set aside at once; not set: twice MAX_TICKETS_PER_ITEM."""
    sweep_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    """How often orders that nobody came back for are looked at."""
    sweep_after_seconds: Annotated[float, Field(ge=0, le=24 * 3600)] = 180
    """How old such an order has to be."""

    @property
    def most_held(self) -> int:
        return self.max_held_per_buyer or 2 * self.max_tickets_per_item

    @property
    def stripe_webhook_secrets(self) -> tuple[str, ...]:
        given = self.stripe_webhook_secret.get_secret_value() if self.stripe_webhook_secret else ""
        return tuple(secret for part in given.split(",") if (secret := part.strip()))


CHECKOUT_SETTINGS: Final = web.AppKey("checkout_settings", CheckoutSettings)
