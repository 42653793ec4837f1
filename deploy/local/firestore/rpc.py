"""From plain async functions to gRPC handlers: calls are counted and fail on demand, errors become statuses."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import grpc.aio

from deploy.local.firestore.errors import FirestoreError, InvalidArgument
from deploy.local.firestore.faults import Faults, Injected
from deploy.local.firestore.wire import Message

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic in the type stubs only
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Unary: TypeAlias = Callable[[Message], Awaitable[Message]]
Stream: TypeAlias = Callable[[Message], AsyncGenerator[Message, None]]
Duplex: TypeAlias = Callable[[AsyncIterator[Message]], AsyncGenerator[Message, None]]

Lose: TypeAlias = Callable[[bytes], None]
"""Ends the transaction with the id, if it is alive, as one that lost a conflict: a client that goes on may retry."""

_SENTENCE_BYTES: Final = 2500
_SUCCESS: Final = (None, grpc.StatusCode.OK)  # None: nobody has set it
MAX_REQUEST: Final = 10 * 1024 * 1024
"""Bytes; https://firebase.google.com/docs/firestore/quotas."""
_log: Final = logging.getLogger(__name__)


def unary(method: str, request: Message, call: Unary, faults: Faults, lose: Lose) -> Handler:
    async def handle(message: Message, context: Context) -> Message:
        try:
            await _meet_faults(faults, method, message, lose)
            _check_size(message)
            reply = await call(message)
            _watch(context, reply, lose)
            faults.after(method)
        except Exception as failure:  # noqa: BLE001  every failure has a status
            await _abort(context, method, failure)
        return reply

    return grpc.unary_unary_rpc_method_handler(handle, request.FromString, _serialize)


def stream(method: str, request: Message, call: Stream, faults: Faults, lose: Lose) -> Handler:
    async def handle(message: Message, context: Context) -> AsyncIterator[Message]:
        try:
            await _meet_faults(faults, method, message, lose)
            _check_size(message)
            async with aclosing(call(message)) as replies:
                async for reply in replies:
                    _watch(context, reply, lose)
                    yield reply
            faults.after(method)
        except Exception as failure:  # noqa: BLE001  every failure has a status
            await _abort(context, method, failure)

    return grpc.unary_stream_rpc_method_handler(handle, request.FromString, _serialize)


def duplex(method: str, request: Message, call: Duplex, faults: Faults) -> Handler:
    async def handle(messages: AsyncIterator[Message], context: Context) -> AsyncIterator[Message]:
        try:
            await faults.before(method)
            async with aclosing(call(_each_checked(messages))) as replies:
                async for reply in replies:
                    yield reply
        except Exception as failure:  # noqa: BLE001  every failure has a status
            await _abort(context, method, failure)

    return grpc.stream_stream_rpc_method_handler(handle, request.FromString, _serialize)


class Unimplemented(grpc.GenericRpcHandler):
    """Answers whatever method nobody else answers, by name."""

    def service(self, details: grpc.HandlerCallDetails) -> Handler:
        async def refuse(_: AsyncIterator[bytes], context: Context) -> None:
            sentence = f"The embedded Firestore does not implement {details.method}."
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, sentence)

        return grpc.stream_stream_rpc_method_handler(refuse)


def _check_size(message: Message) -> None:
    if message.ByteSize() > MAX_REQUEST:
        raise InvalidArgument(f"Request payload size exceeds the limit: {MAX_REQUEST} bytes. Split it.")


async def _each_checked(messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for message in messages:
        _check_size(message)
        yield message


async def _meet_faults(faults: Faults, method: str, message: Message, lose: Lose) -> None:
    try:
        await faults.before(method)
    except Injected as fault:
        if fault.code is grpc.StatusCode.ABORTED and (transaction := getattr(message, "transaction", b"")):
            lose(transaction)
        raise


def _watch(context: Context, reply: Message, lose: Lose) -> None:
    """The transaction that this reply tells of ends with the call, unless the client has had the whole answer.

    What nobody can see is a client that cancels while the end of the answer is on its way: such a transaction lives
    until it has been idle for too long.
    """
    if transaction := getattr(reply, "transaction", b""):

        def end(context: Context) -> None:
            if not _was_heard(context):
                lose(transaction)

        context.add_done_callback(end)  # type: ignore[arg-type]  # the stubs have a class where they mean a protocol


def _was_heard(ended: Context) -> bool:
    """``done`` is false for a call that was cancelled; one past its deadline may look like a success to gRPC."""
    remaining = ended.time_remaining()
    return ended.done() and ended.code() in _SUCCESS and (remaining is None or remaining > 0)


def _serialize(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _short(sentence: str) -> str:
    """A sentence that quotes a long name would not fit into the trailers, which hold 8 KiB, percent-encoded."""
    return sentence.encode()[:_SENTENCE_BYTES].decode(errors="ignore")


async def _abort(context: Context, method: str, failure: Exception) -> NoReturn:
    if isinstance(failure, FirestoreError | Injected):
        await context.abort(failure.code, _short(str(failure)))
    _log.error("%s failed", method, exc_info=failure)
    await context.abort(grpc.StatusCode.INTERNAL, f"{method} failed in the embedded Firestore; see its log.")
