"""Whose address it is: the ID token's where there is one, else what a trusted proxy says."""

from aiohttp import web

from services.checkout.addresses import same
from shared import auth
from shared.config import SETTINGS
from shared.errors import Forbidden


class EmailNotVerified(Forbidden):
    code = "email_not_verified"


class OtherEmail(Forbidden):
    """The address in the body is not the ID token's."""

    code = "email_mismatch"


async def proven_email(request: web.Request, given: str | None) -> str | None:
    """The caller's address. An ID token's counts only where it is verified, and then instead of the one given."""
    who = await auth.caller(request)
    return given if who is None else who.verified_email


async def own_email(request: web.Request, given: str) -> str:
    """The caller's address, where nothing but it says who they are.

    Without an ID token only a deployment that trusts its proxies in everything (``ADMIN_AUTH=proxy``) believes it.
    Raises TokenMissing, EmailNotVerified or OtherEmail.
    """
    who = await auth.caller(request)
    if who is None:
        if request.app[SETTINGS].admin_auth != "proxy":
            raise auth.TokenMissing(
                "Please sign in.", message="This route needs the header Authorization: Bearer <ID token>."
            )
        return given
    if who.verified_email is None:
        raise EmailNotVerified("Please confirm your email address first.")
    if not same(who.verified_email, given):
        raise OtherEmail("You can only claim tickets that were bought with your own email address.")
    return who.verified_email
