import pytest
from aiohttp import web

from shared.firestore import paths
from shared.firestore.client import Database
from shared.wiring import DB, is_admin
from tests.support.shop import put


@pytest.fixture
async def app(database: Database) -> web.Application:
    app = web.Application()
    app[DB] = database
    return app


async def test_membership_makes_an_admin(app: web.Application, database: Database) -> None:
    await put(database, paths.admin_user("u1"), {})
    assert await is_admin(app, "u1")
    assert not await is_admin(app, "u2")


@pytest.mark.parametrize("uid", ["", ".", "..", "a/b", "u1/private/p", "__x__", "__a\nb__", "x" * 1501])
async def test_a_uid_that_cannot_be_a_member_is_no_admin(app: web.Application, database: Database, uid: str) -> None:
    await put(database, "adminUsers/u1/private/p", {})
    assert not await is_admin(app, uid)
