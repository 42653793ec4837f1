"""What every service is wired with: the database, the committer, the worker for its jobs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Final

from aiohttp import web

from shared.config import SETTINGS
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer, Limits
from shared.firestore.metrics import CommitterMetrics
from shared.metrics import REGISTRY
from shared.worker import JobHandler, JobMetrics, Worker

DB: Final = web.AppKey("database", Database)
COMMITTER: Final = web.AppKey("committer", Committer)
WORKER: Final = web.AppKey("worker", Worker)

CleanupContext = Callable[[web.Application], AsyncIterator[None]]


async def database(app: web.Application) -> AsyncIterator[None]:
    """Opens the database and the committer; closes them when everything in flight is through."""
    db = Database.connect(app[SETTINGS].google_cloud_project)
    limits = Limits(deadline=app[SETTINGS].commit_deadline_seconds)
    committer = Committer(db, CommitterMetrics(app[REGISTRY]), limits=limits)
    app[DB], app[COMMITTER] = db, committer
    yield
    await committer.close()
    await db.close()


def jobs(handlers: Callable[[web.Application], Mapping[str, JobHandler]]) -> CleanupContext:
    """Runs the service's jobs. ``handlers`` are made when the contexts entered before this one are there."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        poll = timedelta(seconds=app[SETTINGS].job_poll_seconds)
        worker = Worker(app[DB], app[COMMITTER], handlers(app), JobMetrics(app[REGISTRY]), poll=poll)
        app[WORKER] = worker
        task = asyncio.create_task(worker.serve(), name="jobs")
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return context


async def database_answers(app: web.Application) -> None:
    """A readiness check: raises what the database raises."""
    await app[DB].get("health/ready")


async def is_admin(app: web.Application, uid: str) -> bool:
    """Membership in ``adminUsers`` makes an admin. A uid can hold a slash, and must not lead to another document."""
    return paths.is_document_id(uid) and (await app[DB].get(paths.admin_user(uid))).exists
