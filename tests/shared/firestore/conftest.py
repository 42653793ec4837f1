from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.metrics import CommitterMetrics


@pytest.fixture
async def committer(database: Database) -> AsyncIterator[Committer]:
    committer = Committer(database, CommitterMetrics(CollectorRegistry()))
    yield committer
    await committer.close()
