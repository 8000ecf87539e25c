"""Two kinds of instant, and the calendar."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience._core.instants import Instant, Now, later
from resilience._core.policy.calendar import next_reset
from resilience._core.policy.model import CalendarReset


def wall(text: str, zone: str = "UTC", fold: int = 0) -> float:
    """Seconds since the epoch of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


RESETS = [
    # Shanghai has no summer time: midnight there is 16:00 UTC
    pytest.param("00:00", "Asia/Shanghai", wall("2026-11-22T12:00"), wall("2026-11-22T16:00"), id="today in Shanghai"),
    pytest.param("00:00", "Asia/Shanghai", wall("2026-11-22T15:59:59"), wall("2026-11-22T16:00"), id="a second before"),
    pytest.param("00:00", "Asia/Shanghai", wall("2026-11-22T16:00"), wall("2026-11-23T16:00"), id="strictly after"),
    pytest.param("00:00", "Asia/Shanghai", wall("2026-11-22T16:00:01"), wall("2026-11-23T16:00"), id="a second after"),
    pytest.param("00:00", "Asia/Shanghai", wall("2026-12-31T20:00"), wall("2027-01-01T16:00"), id="over the year"),
    pytest.param("00:00", "UTC", wall("2028-02-28T23:00"), wall("2028-02-29T00:00"), id="leap day"),
    pytest.param("08:30", "UTC", wall("2026-11-22T08:00"), wall("2026-11-22T08:30"), id="a time of day"),
    pytest.param("08:30", "UTC", wall("2026-11-22T09:00"), wall("2026-11-23T08:30"), id="passed today"),
    # clocks go forward: New York, 8 March 2026, 02:00 -> 03:00
    pytest.param("00:00", "America/New_York", wall("2026-03-08T12:00", "America/New_York"),
                 wall("2026-03-09T04:00"), id="a day of 23 hours"),
    pytest.param("02:30", "America/New_York", wall("2026-03-08T01:59", "America/New_York"),
                 wall("2026-03-08T07:30"), id="a time that does not exist"),
    pytest.param("00:00", "Africa/Cairo", wall("2024-04-25T12:00"), wall("2024-04-25T22:00"), id="no midnight"),
    # clocks go back: 1 November 2026, 02:00 -> 01:00
    pytest.param("00:00", "America/New_York", wall("2026-11-01T00:30", "America/New_York"),
                 wall("2026-11-02T05:00"), id="a day of 25 hours"),
    pytest.param("01:30", "America/New_York", wall("2026-11-01T00:00", "America/New_York"),
                 wall("2026-11-01T05:30"), id="a time that comes twice: the first"),
    pytest.param("01:30", "America/New_York", wall("2026-11-01T05:45"),
                 wall("2026-11-02T06:30"), id="between the two"),
]  # fmt: skip


@pytest.mark.parametrize(("time", "zone", "now", "expected"), RESETS)
def test_next_reset(time, zone, now, expected):
    """The next such time of day, in the zone of the quota, strictly later."""
    assert expected == next_reset(CalendarReset(time=time, tz=zone), now)


@given(
    now=st.integers(1_600_000_000, 1_900_000_000),
    zone=st.sampled_from(
        ["UTC", "Asia/Shanghai", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe"]
    ),
    hour=st.integers(0, 23),
)
def test_reset_is_soon_and_reads_right(now, zone, hour):
    """It is later than now, within 25 hours, and shows that time there (or a gap's end)."""
    moment = next_reset(CalendarReset(time=f"{hour:02}:00", tz=zone), now)
    shown = datetime.fromtimestamp(moment, ZoneInfo(zone))

    assert 0 < moment - now <= 25 * 3600 + 1
    assert shown.hour in (hour, (hour + 1) % 24)


NOW = Now(loop=100.0, wall=1_000_000.0)


def test_left_is_read_from_the_right_clock():
    """A span from the loop's clock, a calendar instant from the wall clock."""
    assert Instant(loop=107.0).left(NOW) == 7.0
    assert Instant(wall=999_997.0).left(NOW) == -3.0
    assert Instant(wall=1_000_050.0).left(Now(loop=99_999.0, wall=1_000_000.0)) == 50.0


def test_wall_time():
    """What is shown: the calendar's own, or as far away on the wall clock."""
    assert Instant(loop=107.0).wall_time(NOW) == 1_000_007.0
    assert Instant(wall=5.0).wall_time(NOW) == 5.0


def test_later():
    """Compared by what is left, across clocks."""
    loop, calendar = Instant(loop=110.0), Instant(wall=1_000_020.0)

    assert calendar == later(loop, calendar, NOW)
    assert loop == later(loop, calendar, Now(loop=100.0, wall=1_000_015.0))
    assert loop == later(loop, Instant(loop=109.0), NOW)


def test_carried_to_a_new_loop():
    """An hour of real time passed between two loops: a span is an hour nearer; a calendar stays."""
    after = Now(loop=5.0, wall=NOW.wall + 3600.0)

    assert Instant(loop=405.0) == Instant(loop=4100.0).carried(NOW, after)
    assert Instant(loop=4100.0).carried(NOW, after).left(after) == 400.0
    assert Instant(wall=7.0) == Instant(wall=7.0).carried(NOW, after)


def test_the_first_second_of_the_epoch_is_an_instant():
    """Nought is not nothing."""
    assert Instant(wall=0.0).left(Now(7.0, 5.0)) == -5.0
    assert Instant(loop=0.0).left(Now(7.0, 5.0)) == -7.0
