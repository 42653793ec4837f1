"""Whom tickets are sent to: an address or a username, and the account behind it."""

import asyncio
from typing import Final

from services.checkout.addresses import same, spellings
from services.checkout.transfers import Recipient, Sender
from shared.documents import Customer, Profile, Username
from shared.errors import BadRequest, Conflict, NotFound
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query

_FEW: Final = 10
"""Accounts of one address that are looked at."""


class UsernameNotFound(NotFound):
    code = "username_not_found"


class TransferToSelf(BadRequest):
    code = "transfer_to_self"


class RecipientUnreachable(Conflict):
    """The account behind the username has no address that a claim link could be sent to."""

    code = "recipient_unreachable"


async def by_email(database: Database, email: str, sender: Sender) -> Recipient:
    """Raises TransferToSelf."""
    accounts = await _accounts(database, email)
    if sender.user_id in accounts or same(email, sender.email):
        raise TransferToSelf("These are your own tickets already.")
    account = next(iter(accounts), None)
    profile = await _profile(database, account)
    return Recipient(None, email, account, profile.username, profile.display_name)


async def by_username(database: Database, username: str, sender: Sender) -> Recipient:
    """Raises UsernameNotFound, TransferToSelf or RecipientUnreachable."""
    name = username.strip().removeprefix("@").lower()
    found = Username.of(await database.get(paths.username(name))) if paths.is_document_id(name) else None
    if found is None or found.holder is None or not paths.is_document_id(found.holder):
        raise UsernameNotFound("Nobody has this username.")
    if found.holder == sender.user_id:
        raise TransferToSelf("These are your own tickets already.")
    profile, address = await asyncio.gather(_profile(database, found.holder), address_of(database, found.holder))
    if address is None:
        raise RecipientUnreachable("This account has no email address yet. Please send to an address instead.")
    return Recipient(found.holder, None, found.holder, profile.username or name, profile.display_name)


async def address_of(database: Database, user_id: str) -> str | None:
    """Where an account's mail goes."""
    documents = await database.get_all([paths.customer(user_id), paths.profile(user_id)])
    customer, profile = Customer.of(documents[paths.customer(user_id)]), Profile.of(documents[paths.profile(user_id)])
    return (customer.email if customer else None) or (profile.email if profile else None)


async def _accounts(database: Database, email: str) -> list[str]:
    query = Query("customers", where=[(Customer.stored_name("email"), "in", spellings(email))], limit=_FEW)
    return [document.id for document in await database.query(query)]


async def _profile(database: Database, user_id: str | None) -> Profile:
    """An empty one for nobody, and for those who have none."""
    if user_id is None:
        return Profile("")
    path = paths.profile(user_id)
    return Profile.of(await database.get(path)) or Profile(path)
