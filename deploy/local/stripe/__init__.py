"""A simulator of the part of Stripe's REST API that the backend calls, with its webhooks.

``StripeSimulator`` runs it inside a test, ``python -m deploy.local.stripe`` as a process. What it does not simulate it
refuses by name. ``deploy.local.stripe.controls`` lists what tests can make happen.
"""

from deploy.local.stripe.server import StripeSimulator
from deploy.local.stripe.webhooks import Pace

__all__ = ["Pace", "StripeSimulator"]
