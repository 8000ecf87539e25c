"""The first event of a stream, whatever its lines and pieces look like."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience._core.policy.events import MOST_READ, FirstEvent

ERROR = b'{"code":"0429","msg":"busy"}'

# (stream, the data of its first event)
STREAMS = {
    "plain": (b"data: " + ERROR + b"\n\n", ERROR),
    "no-space": (b"data:" + ERROR + b"\n\n", ERROR),
    "only-one-space-is-dropped": (b"data:  x\n\n", b" x"),
    "crlf": (b"data: " + ERROR + b"\r\n\r\n", ERROR),
    "cr": (b"data: " + ERROR + b"\r\r", ERROR),
    "bom": (b"\xef\xbb\xbfdata: " + ERROR + b"\n\n", ERROR),
    "event-name": (b"event: message\ndata: " + ERROR + b"\n\n", ERROR),
    "id-and-retry": (b"id: 7\nretry: 1000\ndata: " + ERROR + b"\n\n", ERROR),
    "comments-before": (b": ping\n\n: ping\n\ndata: " + ERROR + b"\n\n", ERROR),
    "comment-inside": (b"data: a\n: ping\ndata: b\n\n", b"a\nb"),
    "heartbeat-without-data": (b"event: ping\n\ndata: x\n\n", b"x"),
    "heartbeat-with-empty-data": (b"event: ping\ndata:\n\ndata: x\n\n", b"x"),
    "lines": (b'data: {"code":\ndata: "0429"}\n\n', b'{"code":\n"0429"}'),
    "lines-crlf": (b'data: {\r\ndata: "code":1}\r\n\r\n', b'{\n"code":1}'),
    "second-is-not-looked-at": (b"data: one\n\ndata: two\n\n", b"one"),
    "done": (b"data: [DONE]\n\n", b"[DONE]"),
    "quoted-done": (b'data:"Done"\n\n', b'"Done"'),
    "unknown-fields": (b"lorem: ipsum\nlorem\ndata: x\n\n", b"x"),
    "no-empty-line-at-the-end": (b"data: " + ERROR + b"\n", ERROR),
    "no-line-end-at-the-end": (b"data: " + ERROR, ERROR),
    "text-without-line-end": (b"data: Done", b"Done"),
    "lines-without-empty-ones": (b'data:{"a":1}\ndata:{"a":2}\n', b'{"a":1}'),
    "bare-object": (ERROR + b"\n", ERROR),
    "bare-object-without-line-end": (ERROR, ERROR),
    "line-separator-in-text": ('data: "a\u2028b"\n\n'.encode(), '"a\u2028b"'.encode()),
    "empty": (b"", None),
    "only-comments": (b": ping\n\n: ping\n\n", None),
    "only-an-event-name": (b"event: end\n\n", None),
    "only-a-bom": (b"\xef\xbb\xbf", None),
}


def first_of(*pieces):
    """Read the pieces until it is over."""
    seen = FirstEvent()
    for piece in pieces:
        if seen.over:
            break
        seen.feed(piece)
    if not seen.over:
        seen.end()
    return seen.data


@pytest.mark.parametrize("name", STREAMS)
def test_first_event(name):
    """The first event that says something, as one piece and byte by byte."""
    stream, data = STREAMS[name]
    assert first_of(stream) == data
    assert first_of(*(bytes([byte]) for byte in stream)) == data


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.integers(0, 40)))
def test_pieces_do_not_matter(name, cuts):
    """Wherever the stream is cut into pieces, empty ones too, it says the same."""
    stream, data = STREAMS[name]
    edges = [0, *sorted(cuts), len(stream)]
    assert first_of(*(stream[a:b] for a, b in zip(edges, edges[1:], strict=False))) == data


@pytest.mark.parametrize(
    ("piece", "over"),
    [
        pytest.param(b"data: x\n\n", True, id="empty-line"),
        pytest.param(b"data: x\r\n\r", True, id="half-of-a-crlf"),
        pytest.param(b"data: " + ERROR + b"\n", True, id="whole-object"),
        pytest.param(b"data: x\n", False, id="text-may-go-on"),
        pytest.param(b'data: {"a": {"b": 1}\n', False, id="object-may-go-on"),
        pytest.param(b"data: " + ERROR, False, id="line-may-go-on"),
        pytest.param(b": ping\n\n", False, id="comment"),
    ],
)
def test_it_is_over_as_soon_as_it_can_be(piece, over):
    """Nobody waits for more than the first event, nor gives up before it is whole."""
    seen = FirstEvent()
    seen.feed(piece)
    assert seen.over is over


def test_a_long_event_is_given_up():
    """More than 64 KiB are not collected; it goes by its status."""
    seen = FirstEvent()
    seen.feed(b"data: " + b"x" * (MOST_READ - 6))
    assert not seen.over
    seen.feed(b"x")
    assert seen.over
    assert seen.data is None


def test_what_comes_later_changes_nothing():
    """After it is over, further pieces are not looked at."""
    seen = FirstEvent()
    seen.feed(b"data: one\n\n")
    seen.feed(b"data: two\n\n")
    seen.end()
    assert seen.data == b"one"


@pytest.mark.parametrize("piece", [b"x", b"data:\n"], ids=["byte-by-byte", "empty-lines"])
def test_a_long_event_costs_no_more_than_its_length(piece):
    """Four times as many pieces take about four times as long (16 times, if all is copied for each)."""

    def taken(pieces):
        times = []
        for _ in range(5):
            seen, started = FirstEvent(), time.process_time()
            for _ in range(pieces):
                seen.feed(piece)
            times.append(time.process_time() - started)
            assert not seen.over
        return min(times)

    most = MOST_READ // len(piece)
    assert taken(most) < 9 * taken(most // 4)


def fed(*pieces):
    """What has read these."""
    seen = FirstEvent()
    for piece in pieces:
        seen.feed(piece)
    return seen


def test_a_line_end_of_two_bytes_may_come_in_two_pieces():
    """It is one line end, and only once."""
    assert fed(b"data: x\r", b"\ndata: y\n\n").data == b"x\ny"
    assert fed(b"data: x\r", b"\ndata: y", b"\n\n").data == b"x\ny"


def test_what_only_looks_like_an_object_is_not_over():
    """The end of a brace is not the end of an event, and an object may be followed by spaces."""
    assert not fed(b"data: x}\n").over
    assert not fed(b"data: {x}\n").over
    assert fed(b'data: {"a": 1} \n').over


def test_a_stream_without_events_is_over_at_its_end():
    """There is nothing more to wait for."""
    seen = fed(b": nothing\n")
    seen.end()
    assert (seen.over, seen.data) == (True, None)
