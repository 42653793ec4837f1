"""The wiring of the scanning service."""

from aiohttp import web

from services.scanning.handlers import routes
from services.scanning.metrics import METRICS, ScanningMetrics
from services.scanning.settings import SCANNING, ScanningSettings
from shared.app import create_app as create
from shared.metrics import REGISTRY
from shared.wiring import database, database_answers, is_admin


def create_app(settings: ScanningSettings) -> web.Application:
    app = create(
        settings,
        routes,
        service="scanning",
        checks={"firestore": database_answers},
        is_admin_uid=is_admin,
        contexts=(database,),
    )
    app[SCANNING] = settings
    app[METRICS] = ScanningMetrics(app[REGISTRY])
    return app
