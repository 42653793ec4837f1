"""The two unchanged clients behind one face, so that a fact is stated once and holds for both."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from google.cloud.firestore_v1 import AsyncClient, Client

Kind: TypeAlias = Literal["sync", "async"]


@dataclass(frozen=True, slots=True)
class Face:
    """``client`` makes references and queries, whose calls go through ``call``: the server needs the loop."""

    client: Any

    async def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if inspect.iscoroutinefunction(method):
            return await method(*arguments, **options)
        return await asyncio.to_thread(method, *arguments, **options)

    async def write(self, **documents: dict[str, Any]) -> None:
        """Into ``c``, by id."""
        batch = self.client.batch()
        for name, fields in documents.items():
            batch.set(self.client.document(f"c/{name}"), fields)
        await self.call(batch.commit)

    async def ids(self, query: Any) -> list[str]:
        return [snapshot.id for snapshot in await self.call(query.get)]

    async def aggregate(self, query: Any) -> dict[str, Any]:
        """The results of an aggregation query by alias."""
        return {result.alias: result.value for [*results] in await self.call(query.get) for result in results}


@asynccontextmanager
async def showing(kind: Kind, project: str) -> AsyncIterator[Face]:
    client: Any = Client(project=project) if kind == "sync" else AsyncClient(project=project)
    try:
        yield Face(client)
    finally:
        closed = client._firestore_api.transport.close()
        if inspect.isawaitable(closed):
            await closed
