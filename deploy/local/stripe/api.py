"""The simulated endpoints, and how a call of one becomes a reply."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.local.stripe import charges, customers, disputes, events, payment_intents, refunds
from deploy.local.stripe.deliveries import Deliveries
from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.forms import Form
from deploy.local.stripe.idempotency import Keyed, Saved, SavedReplies
from deploy.local.stripe.ledger import Ids, Ledger, Page
from deploy.local.stripe.params import Params, read
from deploy.local.stripe.records import Record
from deploy.local.stripe.store import Store

Outcome = Record | Page | StripeError
Handler = Callable[[Ledger, Any, str], Outcome]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    params: type[Params]
    handler: Handler


ROUTES = (
    Route("POST", "/v1/customers", customers.CustomerParams, customers.create),
    Route("GET", "/v1/customers", customers.CustomerList, customers.list_all),
    Route("GET", "/v1/customers/{id}", Params, customers.retrieve),
    Route("POST", "/v1/customers/{id}", customers.CustomerParams, customers.update),
    Route("POST", "/v1/payment_intents", payment_intents.CreateIntent, payment_intents.create),
    Route("GET", "/v1/payment_intents", payment_intents.IntentList, payment_intents.list_all),
    Route("GET", "/v1/payment_intents/{id}", payment_intents.RetrieveIntent, payment_intents.retrieve),
    Route("POST", "/v1/payment_intents/{id}", payment_intents.UpdateIntent, payment_intents.update),
    Route("POST", "/v1/payment_intents/{id}/confirm", payment_intents.ConfirmIntent, payment_intents.confirm),
    Route("POST", "/v1/payment_intents/{id}/cancel", payment_intents.CancelIntent, payment_intents.cancel),
    Route("GET", "/v1/charges", charges.ChargeList, charges.list_all),
    Route("GET", "/v1/charges/{id}", Params, charges.retrieve),
    Route("POST", "/v1/refunds", refunds.CreateRefund, refunds.create),
    Route("GET", "/v1/refunds", refunds.RefundList, refunds.list_all),
    Route("GET", "/v1/refunds/{id}", Params, refunds.retrieve),
    Route("POST", "/v1/refunds/{id}", refunds.UpdateRefund, refunds.update),
    Route("GET", "/v1/disputes", disputes.DisputeList, disputes.list_all),
    Route("GET", "/v1/disputes/{id}", Params, disputes.retrieve),
    Route("POST", "/v1/disputes/{id}/close", Params, disputes.accept),
    Route("GET", "/v1/events", events.EventList, events.list_all),
    Route("GET", "/v1/events/{id}", Params, events.retrieve),
)


@dataclass(frozen=True, slots=True)
class Call:
    route: Route
    object_id: str
    form: Form
    request_id: str
    keyed: Keyed | None


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: str
    original_request: str | None = None
    """Set when this is a replay: the request that was answered first."""


class Account:
    """One simulated Stripe account: everything that happens in it, one transaction at a time."""

    def __init__(self, store: Store, seed: str | None, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.clock = clock
        self.deliveries = Deliveries(store, clock)
        self.replies = SavedReplies(store)
        self.replies.forget_old(clock())
        # A restart continues a seeded sequence elsewhere: the same ids again would collide with the kept records.
        self.ids = Ids(None if seed is None else f"{seed}/{store.last()}")

    def ledger(self, request_id: str | None = None, idempotency_key: str | None = None) -> Ledger:
        now = int(self.clock())
        return Ledger(self.store, self.deliveries, self.ids, now, request_id, idempotency_key)

    def answer(self, call: Call) -> Reply:
        """Raises StripeError where the request is refused before its endpoint begins."""
        if call.keyed and (saved := self.replies.replay(call.keyed, self.clock())):
            return Reply(saved.status, saved.body, saved.request_id)
        params = read(call.route.params, call.form)
        try:
            with self.store.transaction():
                return self._applied(call, params)
        except StripeError as error:
            with self.store.transaction():
                return self._saved(call, error.status, error.body())

    def _applied(self, call: Call, params: Params) -> Reply:
        ledger = self.ledger(call.request_id, call.keyed.key if call.keyed else None)
        outcome = call.route.handler(ledger, params, call.object_id)
        if isinstance(outcome, StripeError):
            return self._saved(call, outcome.status, outcome.body())
        return self._saved(call, 200, shown(ledger, outcome, params.expand, call.route.path))

    def _saved(self, call: Call, status: int, body: Mapping[str, object]) -> Reply:
        reply = Reply(status, json.dumps(body))
        if call.keyed:
            self.replies.save(call.keyed, Saved(status, reply.body, call.request_id), self.clock())
        return reply


def shown(ledger: Ledger, outcome: Record | Page, expand: tuple[str, ...], path: str) -> dict[str, Any]:
    """The outcome as JSON with the links that ``expand`` names replaced by their records, one level deep."""
    if isinstance(outcome, Page):
        inner = tuple(_inside_list(name) for name in expand)
        data = [shown(ledger, record, inner, path) for record in outcome.records]
        return {"object": "list", "url": path, "has_more": outcome.has_more, "data": data}
    body = outcome.render()
    for name in expand:
        kind = outcome.LINKS.get(name)
        if kind is None:
            message = f"This property cannot be expanded ({name}). This simulator expands: {', '.join(outcome.LINKS)}"
            raise StripeError(message, param="expand")
        linked = ledger.store.find(kind, body[name]) if body[name] else None
        body[name] = linked.render() if linked else None
    return body


def _inside_list(name: str) -> str:
    if not name.startswith("data."):
        raise StripeError(f"This property cannot be expanded ({name}): a list expands data.<property>.", param="expand")
    return name.removeprefix("data.")
