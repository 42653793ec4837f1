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

    sales_tax_percent: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(0)
    job_first_retry_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0


CHECKOUT_SETTINGS: Final = web.AppKey("checkout_settings", CheckoutSettings)
