"""What the scanning service reads from the environment besides what every service does."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from aiohttp import web
from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from shared.config import Settings


class ScanningSettings(Settings):
    undo_window_minutes: Annotated[int, Field(ge=1, le=60 * 24 * 7)] = 60
    """How long after a scan it may be undone."""

    audit_schedule: str = "0 3 * * *"
    """Five fields of cron: when current events are reconciled and their inventory is compared."""

    audit_timezone: str = "UTC"

    @property
    def undo_window(self) -> timedelta:
        return timedelta(minutes=self.undo_window_minutes)

    @field_validator("audit_schedule")
    @classmethod
    def _five_fields(cls, schedule: str) -> str:
        try:
            next(CronSim(schedule, datetime.now(UTC)))
        except (CronSimError, StopIteration):  # malformed, or a date that never comes
            sentence = "is not a schedule in the five fields of cron, such as 0 3 * * *"
            raise PydanticCustomError("cron", sentence) from None
        return schedule

    @field_validator("audit_timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (KeyError, ValueError, OSError):  # unknown, malformed, or the name of a directory
            raise PydanticCustomError("zone", "is not a time zone, such as Europe/Berlin") from None


SCANNING: Final = web.AppKey("scanning_settings", ScanningSettings)
