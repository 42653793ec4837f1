"""Takes a scan back: finds what it consumed, then runs the operation."""

from datetime import UTC, datetime, timedelta

from services.scanning.undo import Undo, Undone, consumed
from shared.documents import Rager, Scan
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer


async def undo(database: Database, committer: Committer, event_id: str, scan_id: str, window: timedelta) -> Undone:
    """Raises ScanNotFound, NothingToUndo or UndoWindowPassed."""
    scan = Scan.of(await database.get(paths.scan(event_id, scan_id)))
    rager_ids = tuple(consumed(scan)) if scan else ()
    found = await database.get_all(paths.rager(event_id, rager_id) for rager_id in rager_ids)
    holders = {rager.user_id for rager in map(Rager.of, found.values()) if rager and rager.user_id}
    operation = Undo(event_id, scan_id, rager_ids, tuple(sorted(holders)), window, datetime.now(UTC))
    return await committer.run(operation)
