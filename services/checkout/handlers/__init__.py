"""HTTP in, HTTP out: one module a capability, gathered here."""

from services.checkout.handlers import orders
from shared.http import Routes

routes = Routes(orders.routes)
