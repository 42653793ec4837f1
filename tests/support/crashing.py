"""An application that ends in this process as a crash would end it: wherever it is, all of its tasks are gone at once.

What a task does on its way out is nothing that reaches anybody: its connections go with it.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

from tests.support.services import Service, serving

_LIFE: contextvars.ContextVar["Life | None"] = contextvars.ContextVar("life", default=None)
_OWNERS: WeakKeyDictionary["asyncio.Task[Any]", "Life | None"] = WeakKeyDictionary()


def _task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: contextvars.Context | None = None,
) -> "asyncio.Task[Any]":
    """A task that belongs to the life of whoever made it, whatever context it is given."""
    try:
        parent = asyncio.current_task(loop)
    except RuntimeError:
        parent = None
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
    _OWNERS[task] = _LIFE.get() or (_OWNERS.get(parent) if parent else None)
    return task


class Life:
    """One run of an application, from its start to its end or its crash. The loop's tasks are made by ``watched``."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def start(self, app: web.Application) -> Service:
        context = contextvars.copy_context()
        context.run(_LIFE.set, self)
        return await asyncio.create_task(self._stack.enter_async_context(serving(app)), context=context)

    async def end(self) -> None:
        await self._stack.aclose()

    async def crash(self) -> None:
        """Nothing of it goes on; then its sockets are closed, as the kernel closes those of a dead process."""
        while mine := [task for task in asyncio.all_tasks() if _OWNERS.get(task) is self]:
            for task in mine:
                if not _accepts(task):
                    task.cancel()
            await asyncio.wait(mine, timeout=0.05)  # some would rather finish first; they are not let
        with contextlib.suppress(asyncio.CancelledError):
            await self._stack.aclose()


def _accepts(task: "asyncio.Task[Any]") -> bool:
    """Whether it is asyncio's own for a new connection: cut off, it would leave that open for ever."""
    return "_accept_connection" in task.get_coro().__qualname__  # type: ignore[union-attr]  # it is a coroutine


@asynccontextmanager
async def watched() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(_task)
    try:
        yield
    finally:
        loop.set_task_factory(None)
