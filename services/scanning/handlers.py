"""The door's HTTP in, HTTP out."""

import secrets
from datetime import UTC, datetime

from aiohttp import web

from services.scanning import door, preview
from services.scanning.admission import ScanIdReused
from services.scanning.asking import Ask
from services.scanning.gate import Gate, gate
from services.scanning.metrics import METRICS
from services.scanning.refusals import (
    AlreadyUsed,
    Inactive,
    Refunded,
    TicketNotFound,
    Transferred,
    WrongEvent,
    refusal,
)
from services.scanning.schemas import PreviewReply, PreviewRequest, ScanReply, ScanRequest
from shared.http import Routes
from shared.wiring import COMMITTER, DB

routes = Routes()

DENIALS = (TicketNotFound, AlreadyUsed, WrongEvent, Transferred, Refunded, Inactive, ScanIdReused)


@routes.post("/scan-ticket", ScanRequest, ScanReply, refusals=DENIALS)
async def scan_ticket(request: web.Request, scan: ScanRequest) -> ScanReply:
    """Admit a ticket, or say why not."""
    metrics = request.app[METRICS]
    at = await gate(request, scan.event_id, scan.scanner_id, scan.method)
    with metrics.seconds.labels(scan.method).time():
        answer = await door.scan(request.app[DB], request.app[COMMITTER], ask(scan, at))
    metrics.scanned(scan.method, answer)
    if not answer.verdict.admitted:
        raise refusal(answer.verdict, answer)
    return ScanReply.of(answer)


@routes.post("/scan-ticket/preview", PreviewRequest, PreviewReply, nulls=True, refusals=(TicketNotFound, WrongEvent))
async def preview_ticket(request: web.Request, wanted: PreviewRequest) -> PreviewReply:
    """What a scan would answer and consume. Writes nothing."""
    at = await gate(request, wanted.event_id, None, wanted.method)
    foreseen = await preview.preview(request.app[DB], wanted.method, wanted.key, at.event_id)
    request.app[METRICS].previews.labels(foreseen.status).inc()
    return PreviewReply.of(foreseen)


def ask(scan: ScanRequest, at: Gate) -> Ask:
    now = datetime.now(UTC)
    return Ask(
        method=scan.method,
        key=scan.key,
        event_id=at.event_id,
        scan_id=scan.scan_id or secrets.token_hex(16),
        repeatable=scan.scan_id is not None,
        scanner_id=at.scanner_id,
        count=scan.count,
        at=now,
        now=now,
    )
