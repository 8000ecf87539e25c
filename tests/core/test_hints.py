"""Every way in which a server says how long to wait, and none of them believed blindly."""

import os
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience._core.policy.hints import ABSURD, find_hint

DATE = "Wed, 21 Oct 2015 07:27:00 GMT"
NOW = datetime(2015, 10, 21, 7, 27, tzinfo=UTC).timestamp()

GOOD = [
    pytest.param({"retry-after": "120"}, 120.0, "retry-after", id="seconds"),
    pytest.param({"retry-after": "0"}, 0.0, "retry-after", id="zero"),
    pytest.param({"retry-after": " 7 "}, 7.0, "retry-after", id="blanks"),
    pytest.param({"retry-after": "1.5"}, 1.5, "retry-after", id="fraction"),
    pytest.param({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 60.0, "retry-after", id="IMF-fixdate"),
    pytest.param({"retry-after": "Wednesday, 21-Oct-15 07:28:00 GMT"}, 60.0, "retry-after", id="RFC 850"),
    pytest.param({"retry-after": "Wed Oct 21 07:28:00 2015"}, 60.0, "retry-after", id="asctime"),
    pytest.param({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 60.0, "retry-after", id="unknown zone"),
    pytest.param({"retry-after": "Wed, 21 Oct 2015 09:28:00 +0200"}, 60.0, "retry-after", id="another zone"),
    pytest.param({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT"}, 0.0, "retry-after", id="date in the past"),
    pytest.param({"retry-after-ms": "1500"}, 1.5, "retry-after-ms", id="milliseconds"),
    pytest.param({"x-ms-retry-after-ms": "250"}, 0.25, "x-ms-retry-after-ms", id="azure milliseconds"),
    pytest.param({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, "retry-after-ms", id="finer one first"),
    pytest.param({"retry-after-ms": "x", "retry-after": "9"}, 9.0, "retry-after", id="next after a bad one"),
    pytest.param({"retry-after": "9", "x-ratelimit-reset": "3"}, 9.0, "retry-after", id="retry-after before resets"),
    pytest.param({"retry-after": str(int(ABSURD))}, ABSURD, "retry-after", id="a month"),
    pytest.param({"ratelimit-reset": "30"}, 30.0, "ratelimit-reset", id="reset in seconds"),
    pytest.param({"x-ratelimit-reset": "30"}, 30.0, "x-ratelimit-reset", id="x reset"),
    pytest.param({"x-rate-limit-reset": "30"}, 30.0, "x-rate-limit-reset", id="x reset, spelled apart"),
    pytest.param({"x-ratelimit-reset": str(int(NOW) + 45)}, 45.0, "x-ratelimit-reset", id="epoch seconds"),
    pytest.param({"x-ratelimit-reset": str(int(NOW + 45) * 1000)}, 45.0, "x-ratelimit-reset", id="epoch milliseconds"),
    pytest.param({"x-ratelimit-reset": str(int(NOW) - 5)}, 0.0, "x-ratelimit-reset", id="epoch in the past"),
    pytest.param({"ratelimit": "limit=10, remaining=0, reset=30"}, 30.0, "ratelimit", id="draft 07"),
    pytest.param({"ratelimit": '"default";r=0;t=30'}, 30.0, "ratelimit", id="draft 09"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "seconds", "source"), GOOD)
def test_form_is_understood(headers, seconds, source):
    """Each form in use, measured by the answer's own Date."""
    hint, _ = find_hint({**headers, "date": DATE}, quota=True, wall=NOW + 5000)

    assert hint is not None
    assert (seconds, source) == (hint.seconds, hint.source)


BAD = [
    "", "soon", "-5", "nan", "inf", "-inf", "1e3", "+5", "1_0", "0x10", "5s", "1,000", "٣", "9" * 400,
    "9" * 5000, "63072000", "Mon", "Wed, 32 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT",
    "Wed, 21 Oct 2017 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 +9999999999999999999",
]  # fmt: skip


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("header", ["retry-after", "retry-after-ms", "x-ratelimit-reset"])
def test_malformed_or_absurd_is_reported_and_not_obeyed(header, value):
    """Two years, negative, not a number: words about it, and no hint."""
    if header == "retry-after-ms" and value == "63072000":
        value = "6307200000000"
    hint, problems = find_hint({header: value, "date": DATE}, quota=True)

    assert hint is None
    assert len(problems) == 1
    assert problems[0].startswith(f"{header}: ")
    assert len(problems[0]) < 200


def test_date_without_anything_to_measure_it_by():
    """A date alone says nothing, because our own clock was not given."""
    hint, problems = find_hint({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})

    assert hint is None
    assert "no Date" in problems[0]


def test_our_clock_stands_in_for_a_missing_or_broken_date():
    """Only where the answer has no usable Date header."""
    for extra in (
        {},
        {"date": "yesterday"},
        {"date": "Wed, 21 Oct 2015 07:28:00 +99999999999999999"},
    ):
        hint, _ = find_hint({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", **extra}, wall=NOW)

        assert hint is not None
        assert hint.seconds == 60.0


@pytest.mark.parametrize(
    "header", ["ratelimit", "ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"]
)
def test_rate_limit_headers_count_only_for_a_quota(header):
    """On a 503 they describe a window that nobody has hit."""
    assert find_hint({header: "30"}, quota=False) == (None, ())
    assert find_hint({header: "30"}, quota=True)[0] is not None


@pytest.mark.parametrize(
    "value", ["limit=10, remaining=3, reset=30", '"default";r=5;t=30', "r=10;t=1"]
)
def test_window_with_room_left_is_not_the_one_we_hit(value):
    """Another quota rejected us, so this reset says nothing about it."""
    assert find_hint({"ratelimit": value}, quota=True) == (None, ())


@pytest.mark.parametrize("value", ["remaining=0", "r=0", "limit=5", '"default"'])
def test_rate_limit_without_a_reset(value):
    """It is reported, because a reset was promised."""
    hint, problems = find_hint({"ratelimit": value}, quota=True)

    assert hint is None
    assert len(problems) == 1


BODY = [
    (12, 12.0), (1.5, 1.5), ("12", 12.0), (0, 0.0), (-1, None), (True, None), (False, None),
    ("soon", None), (float("nan"), None), (float("inf"), None), (10**400, None), (10**5000, None),
    (object(), None), (1e-5, 1e-5), ([], None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "seconds"), BODY, ids=range(len(BODY)))
def test_field_of_the_body(value, seconds):
    """Numbers and digits count; booleans and nonsense are reported."""
    hint, problems = find_hint({}, body_value=value)

    assert seconds == (hint.seconds if hint else None)
    assert (seconds is None) == bool(problems)


MESSAGES = [
    ("Please try again in 20s", 20.0),
    ("try again in 20 s.", 20.0),
    ("Try Again In 1.5 Seconds", 1.5),
    ("retry after 5 minutes", 300.0),
    ("Retry-After: 3 sec", 3.0),
    ("please wait 300 ms", 0.3),
    ("wait 300 milliseconds", 0.3),
    ("wait 2 mins", 120.0),
    ("try again in 1h", 3600.0),
    ("try again in 2 hours", 7200.0),
    ("limit 40000 tokens per min. Try again in 6m30s", 390.0),
    ("try again in 1h2m3.5s", 3723.5),
    ("try again in 20", None),
    ("try again later", None),
    ("try again tomorrow at 5 pm", None),
    ("wait 3 monkeys", None),
    ("wait 3 serious minutes", None),
    ("retry in -5s", None),
    ("locked for 10 min", None),
    ("try again in 1,000 s", None),
    ("", None),
]


@pytest.mark.parametrize(("message", "seconds"), MESSAGES)
def test_message(message, seconds):
    """What a person would read as a time to wait, with its unit; everything else says nothing."""
    hint, problems = find_hint({}, message=message)

    assert seconds == (hint.seconds if hint else None)
    assert problems == ()


def test_absurd_message_is_reported():
    """Eleven years are not slept through because of a sentence."""
    hint, problems = find_hint({}, message="try again in 99999 hours")

    assert hint is None
    assert "99999 hours" in problems[0]


def test_message_is_the_last_resort():
    """Headers and body come first."""
    hint, _ = find_hint({"retry-after": "2"}, message="try again in 20s", body_value=7)
    below, _ = find_hint({}, message="try again in 20s", body_value=7)

    assert hint is not None
    assert below is not None
    assert (hint.seconds, below.seconds) == (2.0, 7.0)


@given(
    seconds=st.integers(0, int(ABSURD)),
    skew=st.integers(-10_000_000, 10_000_000),
    zone=st.integers(-12, 14),
)
def test_dates_agree_with_the_standard_library(seconds, skew, zone):
    """``email.utils`` writes both dates, our clock is wrong by ``skew``: the difference comes back."""
    sent = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    until = (sent + timedelta(seconds=seconds)).astimezone(UTC)
    headers = {
        "date": format_datetime(sent, usegmt=True),
        "retry-after": format_datetime(until.astimezone(_zone(zone))),
    }
    hint, problems = find_hint(headers, wall=sent.timestamp() + skew)

    assert problems == ()
    assert hint is not None
    assert seconds == hint.seconds


def _zone(hours):
    from datetime import timezone

    return timezone(timedelta(hours=hours))


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone can't be changed here")
def test_local_time_zone_does_not_matter(monkeypatch):
    """An asctime date has no zone, and means UTC (RFC 9110), wherever this machine stands."""
    monkeypatch.setitem(os.environ, "TZ", "America/New_York")
    time.tzset()
    try:
        hint, _ = find_hint({"retry-after": "Wed Oct 21 07:28:00 2015", "date": DATE})
    finally:
        monkeypatch.undo()
        time.tzset()

    assert hint is not None
    assert hint.seconds == 60.0


@pytest.mark.parametrize(
    ("header", "value", "said"),
    [
        pytest.param("retry-after-ms", "soon", "'soon' is not a number", id="word"),
        pytest.param("retry-after", "-5", "'-5' is not a time to wait", id="negative"),
        pytest.param(
            "retry-after",
            "63072000",
            "'63072000' would be 63072000 s, over 2678400 s",
            id="two years",
        ),
        pytest.param(
            "retry-after", "Mon", "'Mon' is neither seconds nor an HTTP date", id="no date"
        ),
        pytest.param(
            "retry-after",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "'Wed, 21 Oct 2015 07:28:00 GMT' is a date, and the answer has no Date header to measure it by",
            id="date",
        ),
        pytest.param(
            "x-ratelimit-reset",
            "1700000000",
            "'1700000000' is an epoch, and the answer has no Date header",
            id="epoch",
        ),
        pytest.param("retry-after", "-" * 58, f"'{'-' * 58}' is not a number", id="as it is"),
        pytest.param("retry-after", "-" * 59, f"'{'-' * 56}... is not a number", id="shortened"),
    ],
)
def test_problems_are_told_in_words(header, value, said):
    """Which header, what it said, and what is wrong with that; at most sixty letters of it."""
    assert find_hint({header: value}, quota=True) == (None, (f"{header}: {said}",))


@pytest.mark.parametrize(
    ("header", "value", "seconds"),
    [
        pytest.param("retry-after", "2678400", 2_678_400.0, id="the slowest that is believed"),
        pytest.param("x-ratelimit-reset", "1000000000", 5.0, id="the first epoch second"),
        pytest.param("x-ratelimit-reset", "1000000000000", 5.0, id="the first epoch millisecond"),
        pytest.param("retry-after-ms", "2500", 2.5, id="milliseconds"),
        pytest.param("ratelimit", "limit=10", None, id="no reset at all"),
    ],
)
def test_edges_between_the_units(header, value, seconds):
    """A number means seconds, epoch seconds or epoch milliseconds by its size."""
    hint, _ = find_hint({header: value}, quota=True, wall=999_999_995.0)
    assert (hint and hint.seconds) == seconds


def test_a_message_is_read_as_far_as_two_thousand_letters():
    """Nobody says it later, and a page of HTML may be long."""
    said = "try again in 20s"
    assert find_hint({}, message=said.rjust(2000))[0] is not None
    assert find_hint({}, message=" " * 2000 + said)[0] is None


def test_a_window_in_a_header_is_not_asked_for_unless_it_was_hit():
    """Without a word about it, the answer is no quota rejection."""
    assert find_hint({"x-ratelimit-reset": "30"}) == (None, ())


def test_what_is_not_believed_is_shown():
    """As it was sent, wherever it stood."""
    for name in ("retry-after-ms", "x-ratelimit-reset"):
        hint, problems = find_hint({name: "-5"}, quota=True)
        assert (hint, problems) == (None, (f"{name}: '-5' is not a time to wait",))


def test_a_date_may_be_in_small_letters():
    """Names of days and months are read in any case."""
    hint, _ = find_hint({"retry-after": "wed, 21 oct 2015 07:28:00 GMT", "date": DATE})
    assert hint is not None
    assert hint.seconds == 60.0


def test_what_the_body_said_is_shown_too():
    """Short, however long it is."""
    assert find_hint({}, body_value="-5")[1] == ("body: '-5' is not a time to wait",)
    assert find_hint({}, body_value=-(10**5000))[1] == (
        "body: a huge number is not a time to wait",
    )
