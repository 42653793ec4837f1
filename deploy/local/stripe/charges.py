"""https://docs.stripe.com/api/charges, the reading part: payment intents make them."""

from deploy.local.stripe.ledger import Ledger, Page
from deploy.local.stripe.params import ListParams, Name, Params
from deploy.local.stripe.records import Charge


class ChargeList(ListParams):
    payment_intent: Name | None = None
    customer: Name | None = None


def retrieve(ledger: Ledger, _params: Params, charge_id: str) -> Charge:
    return ledger.get(Charge, charge_id)


def list_all(ledger: Ledger, params: ChargeList, _id: str) -> Page:
    return ledger.page(Charge, params, payment_intent=params.payment_intent, customer=params.customer)
