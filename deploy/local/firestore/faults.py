"""Failures on demand: what production does now and then, often enough that a test meets it."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Final, TypeAlias

from grpc import StatusCode
from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat

from deploy.local.firestore.errors import Aborted

EVERY_METHOD: Final = "*"
Rate: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_PATIENCE_SECONDS: Final = 2.0
_BURST_SECONDS: Final = 5.0


class Injected(Exception):  # noqa: N818  an answer that was asked for
    """The status with which a call is made to fail."""

    def __init__(self, code: StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls the calls of one method. Rates from 0 to 1; latencies in milliseconds.

    The first three fail before anything is done, except that ``aborted`` ends the transaction, as a conflict would;
    ``lost_reply`` does the work and then answers UNAVAILABLE.
    Every call waits ``latency``, plus an exponentially distributed time with the mean ``jitter``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # as it comes from another process

    aborted: Rate = 0.0
    unavailable: Rate = 0.0
    deadline_exceeded: Rate = 0.0
    lost_reply: Rate = 0.0
    latency: NonNegativeFloat = 0.0
    jitter: NonNegativeFloat = 0.0


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """``methods`` as in the protocol (``Commit``), or ``*`` for all that have no fault of their own.

    ``writes_per_second`` models production's limit of sustained writes to one document: five seconds' worth pass
    at once, then writes wait for their turn, and those that would wait more than two seconds are ABORTED, which ends
    their transaction. A ``seed`` starts the dice anew: equal sequences of calls then fail alike.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    methods: dict[str, Fault] = field(default_factory=dict)
    writes_per_second: PositiveFloat | None = None
    seed: int | None = None


class Faults:
    """Settable at any time, here or from another process (``fault_control``). ``calls`` counts RPCs by method."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._plan = FaultPlan()
        self._random = random.Random(0)  # noqa: S311  repeatable on purpose
        self._free_at: dict[str, float] = {}

    def apply(self, plan: FaultPlan) -> None:
        """In place of the plan before."""
        self._plan = replace(plan, methods=dict(plan.methods))
        self._free_at.clear()
        if plan.seed is not None:
            self._random.seed(plan.seed)

    def set(self, method: str, fault: Fault) -> None:
        self._plan.methods[method] = fault

    def clear(self) -> None:
        self.apply(FaultPlan())

    def seed(self, seed: int) -> None:
        self._random.seed(seed)

    async def before(self, method: str) -> None:
        """Count the call, let it wait, and perhaps raise Injected."""
        self.calls[method] += 1
        fault = self._fault(method)
        if fault is None:
            return
        if delay := fault.latency + (self._random.expovariate(1 / fault.jitter) if fault.jitter else 0.0):
            await asyncio.sleep(delay / 1000)
        for code, rate in _failures(fault):
            if rate and self._random.random() < rate:
                raise Injected(code, f"{method} failed on demand.")

    def after(self, method: str) -> None:
        """Perhaps lose the reply of a call whose work is done."""
        fault = self._fault(method)
        if fault and fault.lost_reply and self._random.random() < fault.lost_reply:
            raise Injected(StatusCode.UNAVAILABLE, f"The reply of {method} was lost on demand.")

    async def throttle(self, names: Iterable[str]) -> None:
        """Hold up a commit that writes these documents, as long as the model of production's limit says."""
        rate = self._plan.writes_per_second
        if not rate:
            return
        now = asyncio.get_running_loop().time()
        turns = {name: max(self._free_at.get(name, 0.0), now - _BURST_SECONDS) for name in names}
        delay = max(turns.values(), default=now) - now
        if delay > _PATIENCE_SECONDS:
            raise Aborted(f"A document is written more often than {rate:g} times a second. Please try again.")
        self._free_at.update({name: turn + 1 / rate for name, turn in turns.items()})
        if delay > 0:
            await asyncio.sleep(delay)

    def _fault(self, method: str) -> Fault | None:
        return self._plan.methods.get(method) or self._plan.methods.get(EVERY_METHOD)


def _failures(fault: Fault) -> tuple[tuple[StatusCode, float], ...]:
    return (
        (StatusCode.ABORTED, fault.aborted),
        (StatusCode.UNAVAILABLE, fault.unavailable),
        (StatusCode.DEADLINE_EXCEEDED, fault.deadline_exceeded),
    )
