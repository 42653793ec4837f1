"""HTTP in, HTTP out."""

import secrets
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from services.scanning import backfill, door, drift, manifest, offline, preview, reconcile, undoing
from services.scanning.admin_schemas import (
    BackfillReply,
    BackfillRequest,
    DriftReply,
    DriftRequest,
    IssuedKey,
    IssueKeyRequest,
    KeyRequest,
    KeysReply,
    KeysRequest,
    ListedKey,
    ReconcileReply,
    ReconcileRequest,
    RevokedKey,
    UndoReply,
    UndoRequest,
)
from services.scanning.asking import Ask
from services.scanning.door_keys import (
    DoorKeyExpired,
    DoorKeyNotFound,
    InvalidDoorKey,
    IssueKey,
    OtherEventsDoorKey,
    RevokeKey,
    hashed,
    presented,
)
from services.scanning.drift import BaselineMissing, EventNotFound
from services.scanning.gate import DOOR_KEYS, Gate, gate, gate_for, require_admin_or_key
from services.scanning.manifest import InvalidCursor
from services.scanning.metrics import METRICS
from services.scanning.offline_schemas import (
    ManifestReply,
    ManifestRequest,
    OfflineScan,
    UploadReply,
    UploadRequest,
    UploadResult,
)
from services.scanning.payload import token_or_stand_in
from services.scanning.refusals import DENIALS, TicketNotFound, WrongEvent, refusal
from services.scanning.schemas import PreviewReply, PreviewRequest, ScanReply, ScanRequest
from services.scanning.settings import SCANNING
from services.scanning.undo import NothingToUndo, ScanNotFound, UndoWindowPassed
from shared.documents import DoorKey
from shared.firestore import paths
from shared.http import InvalidRequest, Routes
from shared.wiring import COMMITTER, DB

routes = Routes()

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KEY_REFUSALS = (InvalidDoorKey, DoorKeyExpired, OtherEventsDoorKey)


@routes.post("/scan-ticket", ScanRequest, ScanReply, refusals=(*DENIALS, *KEY_REFUSALS))
async def scan_ticket(request: web.Request, scan: ScanRequest) -> ScanReply:
    """Admit a ticket, or say why not."""
    metrics = request.app[METRICS]
    at = await gate_for(request, scan.event_id, scan.scanner_id, scan.method)
    with metrics.scanning(scan.method):
        answer = await door.scan(request.app[DB], request.app[COMMITTER], ask(scan, at))
    metrics.scanned(scan.method, answer)
    if not answer.verdict.admitted:
        raise refusal(answer.verdict, answer)
    return ScanReply.of(answer)


@routes.post(
    "/scan-ticket/preview",
    PreviewRequest,
    PreviewReply,
    nulls=True,
    refusals=(TicketNotFound, WrongEvent, *KEY_REFUSALS),
)
async def preview_ticket(request: web.Request, wanted: PreviewRequest) -> PreviewReply:
    """What a scan would answer and consume. Writes nothing."""
    at = await gate_for(request, wanted.event_id, None, wanted.method)
    foreseen = await preview.preview(request.app[DB], wanted.method, wanted.key, at.event_id)
    request.app[METRICS].previews.labels(foreseen.status).inc()
    return PreviewReply.of(foreseen)


@routes.post("/scan-ticket/batch", UploadRequest, UploadReply, refusals=KEY_REFUSALS)
async def upload_scans(request: web.Request, uploaded: UploadRequest) -> UploadReply:
    """Scans made offline: up to 500, a verdict each, to be repeated as it is if the reply is lost."""
    at = await gate(request, uploaded.event_id, None)
    if at.event_id is None:
        raise InvalidRequest("eventId is missing.", fields={"field": "eventId"})
    asks = [offline_ask(scan, at) for scan in uploaded.scans]
    metrics = request.app[METRICS]
    answers = await offline.upload(request.app[DB], request.app[COMMITTER], asks, metrics.timing)
    results = [UploadResult.of(ask, answer) for ask, answer in zip(asks, answers, strict=True)]
    for ask, answer, result in zip(asks, answers, results, strict=True):
        metrics.uploaded(ask.method, answer, conflict=result.conflict is not None)
    return UploadReply(results=results)


@routes.get("/events/{eventId}/manifest", ManifestRequest, ManifestReply, refusals=(InvalidCursor, *KEY_REFUSALS))
async def event_manifest(request: web.Request, wanted: ManifestRequest) -> ManifestReply:
    """What an offline scanner needs, a page of it, for an admin or with a door key."""
    await require_admin_or_key(request, wanted.event_id)
    page = await manifest.page(request.app[DB], wanted.event_id, wanted.since, datetime.now(UTC))
    return ManifestReply.of(wanted.event_id, page)


@routes.post(
    "/scan-ticket/undo",
    UndoRequest,
    UndoReply,
    admin=True,
    refusals=(ScanNotFound, NothingToUndo, UndoWindowPassed),
)
async def undo_scan(request: web.Request, wanted: UndoRequest) -> UndoReply:
    """Take an admission back, once."""
    window = request.app[SCANNING].undo_window
    undone = await undoing.undo(request.app[DB], request.app[COMMITTER], wanted.event_id, wanted.scan_id, window)
    if not undone.replayed:
        request.app[METRICS].undone.inc()
    return UndoReply.of(wanted, undone)


@routes.post("/door-keys", IssueKeyRequest, IssuedKey, admin=True, nulls=True)
async def issue_door_key(request: web.Request, wanted: IssueKeyRequest) -> IssuedKey:
    """A scanner's credential for one event. The key is in this reply and nowhere else."""
    now, key_id = datetime.now(UTC), secrets.token_hex(8)
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise InvalidRequest("expiresAt must be in the future.", fields={"field": "expiresAt"})
    key = presented(key_id, secrets.token_urlsafe(32))
    path, expires_at = paths.door_key(key_id), wanted.expires_at
    record = DoorKey(path, wanted.event_id, wanted.label, hashed(key), created_at=now, expires_at=expires_at)
    await request.app[COMMITTER].run(IssueKey(record))
    return IssuedKey(id=key_id, door_key=key, event_id=wanted.event_id, label=wanted.label, expires_at=expires_at)


@routes.get("/door-keys", KeysRequest, KeysReply, admin=True, nulls=True)
async def list_door_keys(request: web.Request, wanted: KeysRequest) -> KeysReply:
    """An event's door keys, revoked ones too, without what opens the door."""
    keys = await request.app[DOOR_KEYS].of_event(wanted.event_id)
    return KeysReply(door_keys=[ListedKey.of(key) for key in keys])


@routes.delete("/door-keys/{id}", KeyRequest, RevokedKey, admin=True, refusals=(DoorKeyNotFound,))
async def revoke_door_key(request: web.Request, wanted: KeyRequest) -> RevokedKey:
    """Ends a door key; a replica that has just seen it may take it for five more seconds."""
    await request.app[COMMITTER].run(RevokeKey(wanted.id, datetime.now(UTC)))
    request.app[DOOR_KEYS].forget(wanted.id)
    return RevokedKey(id=wanted.id)


@routes.post("/reconcile-event-users", ReconcileRequest, ReconcileReply, admin=True, nulls=True)
async def reconcile_event_users(request: web.Request, wanted: ReconcileRequest) -> ReconcileReply:
    """Compare every user's summary with their ragers, and put it right unless it is a dry run."""
    run = await reconcile.reconcile(request.app[DB], request.app[COMMITTER], wanted.event_id, dry_run=wanted.dry_run)
    request.app[METRICS].reconciled(run, dry_run=wanted.dry_run)
    return ReconcileReply.of(run, dry_run=wanted.dry_run)


@routes.post("/inventory-drift", DriftRequest, DriftReply, admin=True, refusals=(EventNotFound, BaselineMissing))
async def inventory_drift(request: web.Request, wanted: DriftRequest) -> DriftReply:
    """Whether the tickets left and sold are those that the event started with."""
    if wanted.set_baseline:
        counted = await drift.set_baseline(request.app[DB], request.app[COMMITTER], wanted.event_id)
    else:
        counted = await drift.inventory(request.app[DB], wanted.event_id)
    request.app[METRICS].counted(counted)
    return DriftReply.of(drift.with_baseline(counted))


@routes.post("/backfill-ticket-tokens", BackfillRequest, BackfillReply, admin=True)
async def backfill_ticket_tokens(request: web.Request, wanted: BackfillRequest) -> BackfillReply:
    """Give every batch a token and every token its mapping; a reply with a cursor asks to be continued."""
    done = await backfill.backfill(
        request.app[DB], request.app[COMMITTER], wanted.event_id, dry_run=wanted.dry_run, cursor=wanted.cursor
    )
    return BackfillReply.of(wanted, done)


def ask(scan: ScanRequest, at: Gate) -> Ask:
    now = datetime.now(UTC)
    return Ask(
        method=scan.method,
        key=scan.key,
        event_id=at.event_id,
        scan_id=scan.scan_id or secrets.token_hex(16),
        repeatable=scan.scan_id is not None,
        scanner_id=at.scanner_id or None,
        count=scan.count,
        at=now,
        now=now,
    )


def offline_ask(scan: OfflineScan, at: Gate) -> Ask:
    """Whatever the scanner's clock said, it has scanned by now; an odd time must not hold up the other scans."""
    now = datetime.now(UTC)
    return Ask(
        method=scan.method,
        key=token_or_stand_in(scan.key) if scan.method == "token" else scan.key,
        event_id=at.event_id,
        scan_id=scan.scan_id,
        repeatable=True,
        scanner_id=at.scanner_id or scan.scanner_id or None,
        count=scan.count,
        at=max(_EPOCH, min(scan.at, now)).astimezone(UTC),
        now=now,
    )
