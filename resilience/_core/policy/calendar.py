"""When does a quota with a calendar come back?"""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from resilience._core.policy.model import CalendarReset


def next_reset(reset: CalendarReset, wall: float) -> float:
    """Wall time of the next such time of day, strictly after ``wall`` (both seconds, UTC).

    A time of day that does not exist on a day when clocks go forward counts as the moment after.
    """
    zone = ZoneInfo(reset.tz)
    here = datetime.fromtimestamp(wall, UTC).astimezone(zone)
    clock = time.fromisoformat(reset.time)
    for days in range(3):
        date = here.date() + timedelta(days=days)
        moment = datetime.combine(date, clock, tzinfo=zone).timestamp()
        if moment > wall:
            return moment
    raise AssertionError  # a day is never longer than 48 hours
