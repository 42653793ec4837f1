import pytest
from grpc.aio import AioRpcError

from shared.firestore import paths
from shared.firestore.client import Database

IDS = ["a", "a.b", "...", "__", "___", "__x", "x__", "a b", "a\nb", "ünï", "x" * 1500, "é" * 750]
NOT_IDS = ["", ".", "..", "a/b", "/", "x" * 1501, "é" * 751, "____", "__x__", "__a\nb__", "__\n__"]


@pytest.mark.parametrize("text", IDS)
async def test_the_database_takes_what_we_call_one_document_id(database: Database, text: str) -> None:
    assert paths.is_document_id(text)
    assert not (await database.get(f"things/{text}")).exists


@pytest.mark.parametrize("text", NOT_IDS)
async def test_the_database_refuses_what_we_do_not_call_one_document_id(database: Database, text: str) -> None:
    assert not paths.is_document_id(text)
    with pytest.raises(AioRpcError):
        await database.get(f"things/{text}")


def test_half_of_a_surrogate_pair_is_no_id() -> None:
    assert not paths.is_document_id("\ud800")
