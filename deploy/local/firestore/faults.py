"""Failures on demand: what production does now and then, often enough that a test meets it."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

from grpc import StatusCode

EVERY_METHOD: Final = "*"


class Injected(Exception):  # noqa: N818  an answer that was asked for
    """The status with which a call is made to fail."""

    def __init__(self, code: StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls the calls of one method. Rates from 0 to 1; latencies in milliseconds.

    The first three fail before anything is done; ``lost_reply`` does the work and then answers UNAVAILABLE.
    Every call waits ``latency``, plus an exponentially distributed time with the mean ``jitter``.
    """

    aborted: float = 0.0
    unavailable: float = 0.0
    deadline_exceeded: float = 0.0
    lost_reply: float = 0.0
    latency: float = 0.0
    jitter: float = 0.0


class Faults:
    """Settable at any time. Equal seeds and equal sequences of calls fail alike."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._faults: dict[str, Fault] = {}
        self._random = random.Random(0)  # noqa: S311  repeatable on purpose

    def set(self, method: str, fault: Fault) -> None:
        """``method`` as in the protocol (``Commit``), or ``*`` for all that have none of their own."""
        self._faults[method] = fault

    def clear(self) -> None:
        self._faults.clear()

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

    def _fault(self, method: str) -> Fault | None:
        return self._faults.get(method) or self._faults.get(EVERY_METHOD)


def _failures(fault: Fault) -> tuple[tuple[StatusCode, float], ...]:
    return (
        (StatusCode.ABORTED, fault.aborted),
        (StatusCode.UNAVAILABLE, fault.unavailable),
        (StatusCode.DEADLINE_EXCEEDED, fault.deadline_exceeded),
    )
