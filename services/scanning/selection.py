"""Which batch of tickets is consumed next, and why one is not. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from shared.documents import Rager

ADMISSIBLE: Final = "admissible"
REFUNDED: Final = "refunded"
TRANSFERRED: Final = "transferred"
ALREADY_USED: Final = "already_used"
INACTIVE: Final = "inactive"

_NEAREST: Final = (REFUNDED, TRANSFERRED, ALREADY_USED, INACTIVE)
"""From the one that has least to do with the door any more to the one that a person there can put right."""

_LAST: Final = datetime.max.replace(tzinfo=UTC)
"""A batch without a purchase date counts as the youngest."""

NEVER: Final = datetime.min.replace(tzinfo=UTC)


def choose_next(ragers: Iterable[Rager]) -> Rager | None:
    """The rager that the next scan consumes: most remaining, then oldest, then by id."""
    return next(iter(in_order(ragers)), None)


def in_order(ragers: Iterable[Rager]) -> Sequence[Rager]:
    """Those that may be admitted, the next one to be consumed first."""
    admissible = [rager for rager in ragers if rager.remaining]
    return sorted(admissible, key=lambda r: (-r.remaining, r.purchase_date or _LAST, r.id))


def party(ordered: Iterable[Rager], count: int) -> Mapping[str, int] | None:
    """``count`` tickets taken from the ragers in this order, by rager id; None if there are fewer."""
    taken: dict[str, int] = {}
    for rager in ordered:
        take = min(rager.remaining, count - sum(taken.values()))
        if take:
            taken[rager.id] = take
    return taken if sum(taken.values()) == count else None


def standing(rager: Rager) -> str:
    """``admissible``, or the first rule that forbids it."""
    if rager.refunded_at is not None:
        return REFUNDED
    if rager.transferred:
        return TRANSFERRED
    if not rager.left:
        return ALREADY_USED
    return ADMISSIBLE if rager.active else INACTIVE


def explaining(ragers: Iterable[Rager]) -> Rager | None:
    """Of ragers of which none may be admitted, the one whose standing helps most at the door."""
    refused = [rager for rager in ragers if standing(rager) in _NEAREST]
    return max(refused, key=lambda r: (_NEAREST.index(standing(r)), r.last_scan_at or NEVER, r.id), default=None)
