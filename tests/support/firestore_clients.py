"""Both unchanged clients with the manners of the asynchronous one, so that a fact is stated once and holds for both."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

from google.api_core.grpc_helpers import _StreamingResponseIterator
from google.cloud import firestore_v1 as f
from google.cloud.firestore_v1.aggregation import AggregationQuery
from google.cloud.firestore_v1.async_aggregation import AsyncAggregationQuery
from google.cloud.firestore_v1.async_query import AsyncCollectionGroup
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient, FirestoreClient
from google.cloud.firestore_v1.services.firestore.pagers import ListDocumentsPager
from google.cloud.firestore_v1.stream_generator import StreamGenerator

Kind: TypeAlias = Literal["async", "sync"]
T = TypeVar("T")

_TWINS: Final[dict[type, type]] = {
    f.Client: f.AsyncClient,
    f.CollectionGroup: AsyncCollectionGroup,
    f.CollectionReference: f.AsyncCollectionReference,
    f.DocumentReference: f.AsyncDocumentReference,
    f.Query: f.AsyncQuery,
    f.WriteBatch: f.AsyncWriteBatch,
    f.Transaction: f.AsyncTransaction,
    AggregationQuery: AsyncAggregationQuery,
    FirestoreClient: FirestoreAsyncClient,
}
_ITERATED: Final = frozenset({"stream", "get_all", "list_documents", "collections"})
_STREAMED: Final = frozenset({"batch_get_documents", "run_query", "run_aggregation_query"})
_STREAMS: Final = (StreamGenerator, ListDocumentsPager, _StreamingResponseIterator)
_THREADS: Final = 256  # a transaction keeps one while its function waits for another
_END: Final = object()


class Threaded:
    """An object of the synchronous client, in the disguise of its asynchronous twin.

    What is awaited of that runs in a thread here, since the server needs the loop.
    """

    def __init__(self, inner: Any, threads: ThreadPoolExecutor) -> None:
        self._inner = inner
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return self._wrapped(value)
        if name in _ITERATED and type(self._inner) is not FirestoreClient:
            return lambda *arguments, **options: self._iterate(value, arguments, options)
        if name in _STREAMED:
            return lambda *arguments, **options: self._run(value, arguments, options)
        if inspect.iscoroutinefunction(getattr(_TWINS[type(self._inner)], name, None)):
            return lambda *arguments, **options: self._run(value, arguments, options)
        return lambda *arguments, **options: self._wrapped(value(*_plain(arguments), **_plain(options)))

    def _wrapped(self, value: Any) -> Any:
        return Threaded(value, self._threads) if type(value) in _TWINS else value

    async def _run(self, method: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        result = await self._in_thread(lambda: method(*_plain(arguments), **_plain(options)))
        return self._each(result) if isinstance(result, _STREAMS) else result

    async def _iterate(
        self, method: Callable[..., Iterable[Any]], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> AsyncIterator[Any]:
        items = await self._in_thread(lambda: method(*_plain(arguments), **_plain(options)))
        async for item in self._each(items):
            yield item

    async def _each(self, items: Iterable[Any]) -> AsyncIterator[Any]:
        iterator = iter(items)
        while (item := await self._in_thread(lambda: next(iterator, _END))) is not _END:
            yield item

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def transact(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Run the function in this transaction, by the client's own decorator."""
        loop = asyncio.get_running_loop()

        def attempt(_: f.Transaction) -> T:
            return asyncio.run_coroutine_threadsafe(function(self, *arguments), loop).result()

        return await self._in_thread(lambda: f.transactional(attempt)(self._inner))


def transactional(function: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    """The client's decorator, whichever of the two the transaction belongs to."""

    async def run(transaction: Any, *arguments: Any) -> T:
        if isinstance(transaction, Threaded):
            return await transaction.transact(function, *arguments)
        return await f.async_transactional(function)(transaction, *arguments)

    return run


@asynccontextmanager
async def connecting(kind: Kind, project: str) -> AsyncIterator[f.AsyncClient]:
    """One of the clients; the synchronous one only looks like the other."""
    if kind == "async":
        client = f.AsyncClient(project=project)
        yield client
        await client._firestore_api.transport.close()
        return
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="client") as threads:
        inner = f.Client(project=project)
        yield cast("f.AsyncClient", Threaded(inner, threads))
        inner._firestore_api.transport.close()


def _plain(value: Any) -> Any:
    """Without the disguise, at whatever depth."""
    match value:
        case Threaded():
            return value._inner
        case dict():
            return {name: _plain(member) for name, member in value.items()}
        case list() | tuple():
            return type(value)(map(_plain, value))
    return value
