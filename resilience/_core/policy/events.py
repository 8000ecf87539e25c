"""The first event of an event stream, found while its pieces come in.

A stream that fails often says so in its first event, under HTTP 200.  What is read of it is a body
like any other; what comes later is never looked at, because by then the caller has a part of it.

Lines are parsed as https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
says, with three liberties that servers take: an event that is not closed by an empty line counts at
the end of the stream, or as soon as its lines are a whole JSON object; and a line that *is* a JSON
object counts as one that says ``data:`` before it.
"""

import msgspec

MOST_READ = 64 * 1024
"""Bytes that are read to find the first event."""

_BOM = b"\xef\xbb\xbf"


class FirstEvent:
    """Feed it pieces until it is ``over``; then ``data`` is what the first event says, if there is one.

    Comments, heartbeats and events without data are passed over.
    """

    __slots__ = ("_after_cr", "_line", "_lines", "_read", "data", "over")

    def __init__(self) -> None:
        self.over = False
        self.data: bytes | None = None
        self._line = bytearray()
        self._lines: list[bytes] = []
        self._read = 0
        self._after_cr = False

    def feed(self, piece: bytes) -> None:
        """The next bytes of the stream."""
        self._read += len(piece)
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or piece.endswith(b"\r")
        first, *others = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._line += first  # in place: a line may come byte by byte
        for other in others:
            self._take(bytes(self._line))
            self._line = bytearray(other)
        if self._read > MOST_READ:
            self.over = True

    def end(self) -> None:
        """The stream is at its end."""
        self._take(bytes(self._line))
        self._take(b"")
        self.over = True

    def _take(self, line: bytes) -> None:
        if self.over:
            return
        line = line.removeprefix(_BOM)  # only the first can have one
        name, _, value = (b"data", b":", line) if line.startswith(b"{") else line.partition(b":")
        if name == b"data":
            self._lines.append(value.removeprefix(b" "))
        if line and not line.rstrip().endswith(b"}"):
            return  # nothing is over yet, and joining all for each line would take its time
        data = b"\n".join(self._lines)
        if not line:
            self._lines.clear()
        if data.strip() and (not line or _is_object(data)):
            self.data = data
            self.over = True


def _is_object(data: bytes) -> bool:
    """Whether this is a whole JSON object: then no further line can belong to it."""
    if not (data.startswith(b"{") and data.rstrip().endswith(b"}")):
        return False
    try:
        msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
