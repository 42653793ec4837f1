"""Requests and replies of admins and of scanners that work offline."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from services.scanning.backfill import Backfilled, Sample
from services.scanning.drift import Inventory
from services.scanning.schemas import Label
from services.scanning.undo import Undone
from shared.documents import DoorKey, ReconcileRun, RepairedSummary, UserSums
from shared.schemas import DocumentId, Model, Moment


class UndoRequest(Model):
    event_id: DocumentId
    scan_id: DocumentId


class UndoReply(Model):
    ok: Literal[True] = True
    event_id: str
    scan_id: str
    rager_id: str | None
    restored: int
    """Tickets that can be used again."""
    undone_at: datetime
    replayed: bool | None = None

    @classmethod
    def of(cls, wanted: UndoRequest, undone: Undone) -> Self:
        return cls(
            event_id=wanted.event_id,
            scan_id=wanted.scan_id,
            rager_id=undone.rager_id,
            restored=undone.restored,
            undone_at=undone.at,
            replayed=undone.replayed or None,
        )


class IssueKeyRequest(Model):
    event_id: DocumentId
    label: Annotated[Label, StringConstraints(min_length=1)]
    """What ``lastScannedBy`` says of its scans."""
    expires_at: Moment | None = None


class IssuedKey(Model):
    ok: Literal[True] = True
    id: str
    door_key: str
    """Shown this once; the database holds only its hash."""
    event_id: str
    label: str
    expires_at: datetime | None


class KeysRequest(Model):
    event_id: DocumentId


class ListedKey(Model):
    id: str
    event_id: str
    label: str
    created_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: DoorKey) -> Self:
        return cls(
            id=key.id,
            event_id=key.event_id,
            label=key.label,
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


class KeysReply(Model):
    ok: Literal[True] = True
    door_keys: list[ListedKey]


class KeyRequest(Model):
    id: DocumentId


class RevokedKey(Model):
    ok: Literal[True] = True
    id: str


class ReconcileRequest(Model):
    event_id: DocumentId
    dry_run: bool = False
    """Report, write nothing. Left out, what is wrong is put right, which is safe to repeat."""


class Sums(Model):
    total_tickets: int
    used_count: int

    @classmethod
    def of(cls, sums: UserSums) -> Self:
        return cls(total_tickets=sums.total_tickets, used_count=sums.used_count)


class ReconciledUser(Model):
    uid: str
    prev: Sums | None
    next: Sums

    @classmethod
    def of(cls, repaired: RepairedSummary) -> Self:
        prev = Sums.of(repaired.prev) if repaired.prev else None
        return cls(uid=repaired.user_id, prev=prev, next=Sums.of(repaired.next))


class ReconcileReply(Model):
    ok: Literal[True] = True
    event_id: str
    processed_users: int
    updated_users: int
    """Summaries that were, or in a dry run would be, put right."""
    dry_run: bool
    samples: list[ReconciledUser]
    duration_ms: int
    run_id: str | None
    """Of the record; null after a dry run."""

    @classmethod
    def of(cls, run: ReconcileRun, *, dry_run: bool) -> Self:
        return cls(
            event_id=run.event_id,
            processed_users=run.processed_users,
            updated_users=run.updated_users,
            dry_run=dry_run,
            samples=[ReconciledUser.of(sample) for sample in run.samples],
            duration_ms=run.duration_ms,
            run_id=None if dry_run else run.id,
        )


class DriftRequest(Model):
    event_id: DocumentId
    set_baseline: bool = False
    """Take the present sum as what the event started with."""


class DriftReply(Model):
    ok: Literal[True] = True
    event_id: str
    seeded: int
    available: int
    sold: int
    held: int
    """For buyers who are paying right now."""
    drift: int
    """Tickets too many; negative: missing."""

    @classmethod
    def of(cls, counted: Inventory) -> Self:
        return cls(
            event_id=counted.event_id,
            seeded=counted.seeded or 0,
            available=counted.available,
            sold=counted.sold,
            held=counted.held,
            drift=counted.drift or 0,
        )


class BackfillRequest(Model):
    event_id: DocumentId
    dry_run: bool = False
    """Report, write nothing. Left out, what is missing is added, which is safe to repeat."""
    cursor: DocumentId | None = None
    """Of the reply before, to go on."""


class BackfillSample(Model):
    rager_id: str
    token_added: bool
    mapping_created: bool
    mapping_repaired: bool
    disputed: bool
    """Its token is another batch's as well: nothing was changed."""
    unusable: bool
    """No code can lead to its token, which the door would read as another one or as none: nothing was changed."""

    @classmethod
    def of(cls, sample: Sample) -> Self:
        minted = sample.minted
        return cls(
            rager_id=sample.rager_id,
            token_added=minted.token_added,
            mapping_created=minted.mapping_created,
            mapping_repaired=minted.mapping_repaired,
            disputed=minted.disputed,
            unusable=minted.unusable,
        )


class BackfillReply(Model):
    """``updated`` batches got a token; the mappings count all batches."""

    ok: Literal[True] = True
    event_id: str
    processed: int
    updated: int
    mappings_created: int
    mappings_repaired: int
    disputed: int
    unusable: int
    dry_run: bool
    samples: Sequence[BackfillSample]
    cursor: Annotated[str | None, Field(description="Present where there is more: ask again with it.")]

    @classmethod
    def of(cls, wanted: BackfillRequest, done: Backfilled) -> Self:
        return cls(
            event_id=wanted.event_id,
            processed=done.processed,
            updated=done.updated,
            mappings_created=done.mappings_created,
            mappings_repaired=done.mappings_repaired,
            disputed=done.disputed,
            unusable=done.unusable,
            dry_run=wanted.dry_run,
            samples=[BackfillSample.of(sample) for sample in done.samples],
            cursor=done.cursor,
        )
