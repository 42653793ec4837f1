"""https://docs.stripe.com/api/customers"""

from dataclasses import replace

from deploy.local.stripe.ledger import Ledger, Page
from deploy.local.stripe.params import Email, ListParams, Metadata, Params, Text, merge_metadata
from deploy.local.stripe.records import Customer

FIELDS = ("email", "name", "description", "phone")


class CustomerParams(Params):
    email: Email = None
    name: Text = None
    description: Text = None
    phone: Text = None
    metadata: Metadata = None


class CustomerList(ListParams):
    email: Email = None


def create(ledger: Ledger, params: CustomerParams, _id: str) -> Customer:
    customer = Customer(
        id=ledger.ids.new(Customer.PREFIX),
        created=ledger.now,
        metadata=merge_metadata({}, params.metadata),
        **params.changes(*FIELDS),
    )
    return ledger.put(customer, "customer.created")


def update(ledger: Ledger, params: CustomerParams, customer_id: str) -> Customer:
    customer = ledger.get(Customer, customer_id)
    changed = replace(customer, **params.changes(*FIELDS))
    if "metadata" in params.model_fields_set:
        changed = replace(changed, metadata=merge_metadata(customer.metadata, params.metadata))
    if changed == customer:
        return customer
    return ledger.put(changed, "customer.updated")


def retrieve(ledger: Ledger, _params: Params, customer_id: str) -> Customer:
    return ledger.get(Customer, customer_id)


def list_all(ledger: Ledger, params: CustomerList, _id: str) -> Page:
    return ledger.page(Customer, params, email=params.email)
