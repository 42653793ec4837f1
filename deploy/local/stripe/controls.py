"""What a test does that no API client can: the bank's and the dashboard's side, and faults.

``/_sim/...`` takes JSON and needs no key.

    GET/POST/DELETE faults                      Fault objects, see ``deploy.local.http_faults``
    PUT    webhooks/endpoints                   [{"url", "secret", "events"?}]: replaces them
    POST   webhooks/hold                        nothing is sent until released
    POST   webhooks/release                     {"order"?: as_created | reversed | shuffled, "seed"?}
    POST   webhooks/redeliver                   {"event", "times"?}
    POST   webhooks/copies                      {"copies"}: each new event is delivered so many times
    POST   webhooks/settle                      {"timeout"?}: waits until everything is delivered or given up
    GET    deliveries?state=&event=
    POST   payment_intents/{id}/complete        {"outcome": succeeded | failed}, of requires_action or processing
    POST   refunds                              a refund made in the dashboard, with the API's parameters
    POST   refunds/{id}/settle, refunds/{id}/fail   {"reason"?}
    POST   disputes                             {"payment_intent" or "charge", "reason"?, "amount"?}
    POST   disputes/{id}/close                  {"status": won | lost}
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from deploy.local.stripe import disputes, payments, refunds
from deploy.local.stripe.api import Account
from deploy.local.stripe.deliveries import Endpoint, Order
from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.ledger import Ledger
from deploy.local.stripe.records import PaymentIntent, Record
from deploy.local.stripe.webhooks import Sender

M = TypeVar("M", bound=BaseModel)


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EndpointAsked(Asked):
    url: str
    secret: str
    """Several, comma separated, sign each delivery once each."""
    events: tuple[str, ...] = ("*",)


class Release(Asked):
    order: Order = "as_created"
    seed: int = 0


class Redeliver(Asked):
    event: str
    times: int = Field(default=1, ge=1, le=100)


class Copies(Asked):
    copies: int = Field(ge=1, le=10)


class Settle(Asked):
    timeout: float = Field(default=10.0, gt=0, le=120)


class Complete(Asked):
    outcome: Literal["succeeded", "failed"] = "succeeded"


class RefundAsked(Asked):
    payment_intent: str | None = None
    charge: str | None = None
    amount: int | None = Field(default=None, ge=1)
    reason: refunds.Reason | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class Failure(Asked):
    reason: Literal[
        "lost_or_stolen_card", "expired_or_canceled_card", "charge_for_pending_refund_disputed",
        "insufficient_funds", "declined", "merchant_request", "unknown",
    ] = "expired_or_canceled_card"  # fmt: skip


class DisputeAsked(Asked):
    payment_intent: str | None = None
    charge: str | None = None
    amount: int | None = Field(default=None, ge=1)
    reason: str = "fraudulent"


class Verdict(Asked):
    status: Literal["won", "lost"]


def endpoint(url: str, secret: str, events: tuple[str, ...] = ("*",)) -> Endpoint:
    return Endpoint(url, tuple(part.strip() for part in secret.split(",") if part.strip()), events)


class Controls:
    """The controls' HTTP side; every one of them is a call that a test in the same process makes directly."""

    def __init__(self, account: Account, sender: Sender) -> None:
        self._account = account
        self._sender = sender

    def routes(self) -> list[web.RouteDef]:
        return [
            web.put("/_sim/webhooks/endpoints", self._set_endpoints),
            web.post("/_sim/webhooks/hold", self._hold),
            web.post("/_sim/webhooks/release", self._release),
            web.post("/_sim/webhooks/redeliver", self._redeliver),
            web.post("/_sim/webhooks/copies", self._copies),
            web.post("/_sim/webhooks/settle", self._settle),
            web.get("/_sim/deliveries", self._deliveries),
            web.post("/_sim/payment_intents/{id}/complete", self._complete),
            web.post("/_sim/refunds", self._refund),
            web.post("/_sim/refunds/{id}/settle", self._settle_refund),
            web.post("/_sim/refunds/{id}/fail", self._fail_refund),
            web.post("/_sim/disputes", self._dispute),
            web.post("/_sim/disputes/{id}/close", self._close_dispute),
        ]

    def happen(self, what: Callable[[Ledger], Record]) -> dict[str, Any]:
        """Something that no API request caused; its events go out at once."""
        with self._account.store.transaction():
            record = what(self._account.ledger())
        self._sender.wake()
        return record.render()

    async def _set_endpoints(self, request: web.Request) -> web.Response:
        try:
            wanted = TypeAdapter(list[EndpointAsked]).validate_json(await request.read())
        except ValidationError as invalid:
            raise unreadable(invalid) from None
        self._account.deliveries.configure(endpoint(e.url, e.secret, e.events) for e in wanted)
        self._sender.wake()
        return web.json_response({"endpoints": len(wanted)})

    async def _hold(self, _request: web.Request) -> web.Response:
        self._sender.hold()
        return web.json_response({"held": True})

    async def _release(self, request: web.Request) -> web.Response:
        release = await asked(request, Release)
        self._sender.release(release.order, release.seed)
        return web.json_response({"held": False})

    async def _redeliver(self, request: web.Request) -> web.Response:
        again = await asked(request, Redeliver)
        return web.json_response({"deliveries": self._sender.redeliver(again.event, again.times)})

    async def _copies(self, request: web.Request) -> web.Response:
        self._account.deliveries.copies = (await asked(request, Copies)).copies
        return web.json_response({"copies": self._account.deliveries.copies})

    async def _settle(self, request: web.Request) -> web.Response:
        settled = await self._sender.settled((await asked(request, Settle)).timeout)
        return web.json_response({"settled": settled, "pending": self._account.deliveries.pending()})

    async def _deliveries(self, request: web.Request) -> web.Response:
        found = self._account.deliveries.listed(request.query.get("state"), request.query.get("event"))
        return web.json_response({"data": [delivery.render() for delivery in found]})

    async def _complete(self, request: web.Request) -> web.Response:
        succeeds = (await asked(request, Complete)).outcome == "succeeded"
        intent_id = request.match_info["id"]

        def happen(ledger: Ledger) -> Record:
            return payments.complete(ledger, ledger.get(PaymentIntent, intent_id), succeeds=succeeds)

        return web.json_response(self.happen(happen))

    async def _refund(self, request: web.Request) -> web.Response:
        wanted = (await asked(request, RefundAsked)).model_dump(exclude_none=True)
        params = refunds.CreateRefund.model_construct(**wanted)
        return web.json_response(self.happen(lambda ledger: refunds.create(ledger, params, "")))

    async def _settle_refund(self, request: web.Request) -> web.Response:
        return web.json_response(self.happen(lambda ledger: refunds.settle(ledger, request.match_info["id"])))

    async def _fail_refund(self, request: web.Request) -> web.Response:
        reason = (await asked(request, Failure)).reason
        return web.json_response(self.happen(lambda ledger: refunds.fail(ledger, request.match_info["id"], reason)))

    async def _dispute(self, request: web.Request) -> web.Response:
        wanted = await asked(request, DisputeAsked)

        def happen(ledger: Ledger) -> Record:
            charge = refunds.charge_of(ledger, wanted.payment_intent, wanted.charge)
            return disputes.open_dispute(ledger, charge, reason=wanted.reason, amount=wanted.amount)

        return web.json_response(self.happen(happen))

    async def _close_dispute(self, request: web.Request) -> web.Response:
        status = (await asked(request, Verdict)).status
        return web.json_response(self.happen(lambda ledger: disputes.decide(ledger, request.match_info["id"], status)))


async def asked(request: web.Request, model: type[M]) -> M:
    """The request's JSON body, an empty one for all defaults. Raises StripeError naming what is wrong."""
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except ValidationError as invalid:
        raise unreadable(invalid) from None


def unreadable(invalid: ValidationError) -> StripeError:
    first = invalid.errors(include_url=False)[0]
    where = ".".join(str(step) for step in first["loc"]) or "body"
    return StripeError(f"The control's JSON is wrong at {where}: {first['msg']}")
