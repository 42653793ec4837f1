"""The wiring of the scanning service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Final

import structlog
from aiohttp import web

from services.scanning import audit
from services.scanning.audit import Auditor
from services.scanning.gate import DOOR_KEYS, DoorKeys, doors_only
from services.scanning.handlers import routes
from services.scanning.metrics import METRICS, ScanningMetrics
from services.scanning.schedule import KIND
from services.scanning.settings import SCANNING, ScanningSettings
from shared.app import create_app as create
from shared.metrics import REGISTRY
from shared.wiring import COMMITTER, DB, database, database_answers, is_admin, jobs
from shared.worker import JobHandler

_log: Final = structlog.get_logger()
_RETRY_SECONDS: Final = 30.0


def create_app(settings: ScanningSettings) -> web.Application:
    app = create(
        settings,
        routes,
        service="scanning",
        checks={"firestore": database_answers},
        is_admin_uid=is_admin,
        contexts=(database, door_keys, jobs(_jobs), audits),
    )
    app.middlewares.append(doors_only)
    app[SCANNING] = settings
    app[METRICS] = ScanningMetrics(app[REGISTRY])
    return app


def _jobs(app: web.Application) -> Mapping[str, JobHandler]:
    auditor = Auditor(app[DB], app[COMMITTER], app[METRICS])
    return {KIND: audit.job(auditor, app[SCANNING])}


async def door_keys(app: web.Application) -> AsyncIterator[None]:
    app[DOOR_KEYS] = DoorKeys(app[DB])
    yield


async def audits(app: web.Application) -> AsyncIterator[None]:
    """Sees to it that the next audit is asked for; a run that happens asks for the one after it."""
    task = asyncio.create_task(_ask_until_it_is_known(app), name="audit schedule")
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _ask_until_it_is_known(app: web.Application) -> None:
    """The service starts without a database too, and asks when it is there."""
    while True:
        try:
            due = await audit.ask_for_next(app[COMMITTER], app[SCANNING], datetime.now(UTC))
        except Exception:  # noqa: BLE001  whatever the database says while it is away, the door must open
            _log.warning("audit_not_scheduled", exc_info=True)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            _log.info("audit_scheduled", due=due.isoformat())
            return
