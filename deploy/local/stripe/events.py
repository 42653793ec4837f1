"""https://docs.stripe.com/api/events"""

from deploy.local.stripe.ledger import Ledger, Page
from deploy.local.stripe.params import ListParams, Name, Params
from deploy.local.stripe.records import Event


class EventList(ListParams):
    type: Name | None = None


def retrieve(ledger: Ledger, _params: Params, event_id: str) -> Event:
    return ledger.get(Event, event_id)


def list_all(ledger: Ledger, params: EventList, _id: str) -> Page:
    return ledger.page(Event, params, type=params.type)
