"""The faults and counters of a running server, from another process: a second gRPC service on its port, in JSON.

``Apply`` takes a FaultPlan; ``Calls`` takes true to start counting anew, and answers the counts until then.
"""

from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio
from pydantic import TypeAdapter, ValidationError

from deploy.local.firestore.faults import FaultPlan, Faults
from deploy.local.firestore.rpc import Context, Handler

SERVICE: Final = "ticketing.local.Faults"
_plan: Final = TypeAdapter(FaultPlan)
_calls: Final = TypeAdapter(dict[str, int])
_flag: Final = TypeAdapter(bool)


def handlers(faults: Faults) -> dict[str, Handler]:
    async def apply(request: bytes, context: Context) -> bytes:
        try:
            faults.apply(_plan.validate_json(request))
        except ValidationError as mistake:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(mistake))
        return b"{}"

    async def calls(request: bytes, _: Context) -> bytes:
        counts = _calls.dump_json(dict(faults.calls))
        if _flag.validate_json(request):
            faults.calls.clear()
        return counts

    return {
        "Apply": grpc.unary_unary_rpc_method_handler(apply),
        "Calls": grpc.unary_unary_rpc_method_handler(calls),
    }


class FaultControl:
    """``async with FaultControl(host) as control: await control.apply(FaultPlan(...))``."""

    def __init__(self, host: str) -> None:
        self._host = host

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def apply(self, plan: FaultPlan) -> None:
        """In place of the plan before; an empty one ends all faults."""
        await self._call("Apply", _plan.dump_json(plan))

    async def calls(self, *, reset: bool = False) -> dict[str, int]:
        """How often each method was called since the start or the last reset."""
        return _calls.validate_json(await self._call("Calls", _flag.dump_json(reset)))

    async def _call(self, method: str, request: bytes) -> bytes:
        call: Any = self._channel.unary_unary(f"/{SERVICE}/{method}")
        reply: bytes = await call(request)
        return reply
