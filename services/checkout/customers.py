"""One Stripe customer for each account, remembered at ``customers/{uid}``."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stripe.params import CustomerCreateParams

from services.checkout.payments import Payments
from shared.documents import Customer
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Merge, Write

MIRROR: Final = "mirror_stripe_customer"


@dataclass(frozen=True, slots=True)
class Registration:
    user_id: str | None
    email: str
    name: str | None

    @property
    def description(self) -> str:
        return f"Firebase user {self.user_id}" if self.user_id else "Guest"

    @property
    def idempotency_key(self) -> str:
        """The same registration sent twice is one customer."""
        return "customer-" + hashlib.sha256(repr((self.user_id, self.email, self.name)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Registered:
    stripe_customer_id: str
    description: str
    reused: bool


@dataclass(frozen=True, slots=True)
class RememberCustomer:
    """Tie an account to its Stripe customer; whoever came first stays."""

    registration: Registration
    customer: Customer
    mirrored: bool
    now: datetime

    @property
    def lane(self) -> str:
        return self.customer.path

    def reads(self) -> Sequence[str]:
        return (self.customer.path,)

    def decide(self, docs: Documents) -> Decision[Registered]:
        known = Customer.of(docs[self.customer.path])
        given = self.customer.stripe_customer_id or ""
        first = known.stripe_customer_id if known else None
        if first and first != given:
            return Decision(Registered(first, self.registration.description, reused=True))
        return Decision(Registered(given, self.registration.description, reused=bool(first)), self._writes(first))

    def _writes(self, first: str | None) -> Sequence[Write]:
        customer = self.customer
        profile = Customer.patch(
            stripe_customer_id=customer.stripe_customer_id,
            email=customer.email,
            description=customer.description,
            **({"name": customer.name} if customer.name else {}),
        )
        merge = Merge(customer.path, profile)
        if first or not self.mirrored:
            return (merge,)
        payload = {"uid": customer.id, "stripeCustomerId": customer.stripe_customer_id}
        return (merge, enqueue(f"mirror-{customer.id}", MIRROR, payload, now=self.now))


@dataclass(frozen=True, slots=True)
class Register:
    """Where customers are registered. ``mirrored``: a Realtime Database wants to know them too."""

    database: Database
    committer: Committer
    payments: Payments
    mirrored: bool

    async def __call__(self, registration: Registration, now: datetime) -> Registered:
        if registration.user_id is None:
            return Registered(await self._create(registration), registration.description, reused=False)
        known = Customer.of(await self.database.get(paths.customer(registration.user_id)))
        customer_id = known.stripe_customer_id if known else None
        if known is None or customer_id is None:
            customer_id = await self._create(registration)
        elif (known.email, known.name) == (registration.email, registration.name or known.name):
            return Registered(customer_id, registration.description, reused=True)
        else:
            name = registration.name or known.name
            await self.payments.update_customer(
                customer_id, {"email": registration.email, **({"name": name} if name else {})}
            )
        return await self.committer.run(self._remember(registration, customer_id, now))

    async def _create(self, registration: Registration) -> str:
        metadata = {"firebaseId": registration.user_id} if registration.user_id else {}
        params: CustomerCreateParams = {
            "email": registration.email,
            "description": registration.description,
            "metadata": metadata,
        }
        if registration.name:
            params["name"] = registration.name
        return await self.payments.create_customer(params, registration.idempotency_key)

    def _remember(self, registration: Registration, customer_id: str, now: datetime) -> RememberCustomer:
        customer = Customer(
            path=paths.customer(registration.user_id or ""),
            stripe_customer_id=customer_id,
            email=registration.email,
            name=registration.name,
            description=registration.description,
        )
        return RememberCustomer(registration, customer, self.mirrored, now)
