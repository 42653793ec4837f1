"""Something that happens between two pages of a reader, every time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from shared.firestore.client import Database
from shared.operations import Document


class Interrupted(Database):
    """A database in which something ``happens`` once, after the first page that is read."""

    happens: Callable[[], Awaitable[None]] | None = None

    async def pages(self, *args: Any, **options: Any) -> AsyncIterator[Sequence[Document]]:
        async for page in super().pages(*args, **options):
            yield page
            if self.happens is not None:
                happens, self.happens = self.happens, None
                await happens()
