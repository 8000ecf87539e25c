"""A file of JSON Lines: one CloudEvent a line, each there exactly once, whatever crashes."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

import anyio.to_thread
import msgspec

from pollers._core.events import BadCursor, Event, place_of
from pollers.sinks.base import Sink
from pollers.store._thread import on_asyncio
from resilience import Guard

_BLOCK = 64 * 1024


class JsonLines(Sink):
    """Appends each event to a file and syncs it to the disk.

    It goes on exactly where it was: a last line without its end is cut off, and what is in the file
    already is not written again.  Nobody else may append to the file at the same time.  It may be
    renamed or deleted at any time, as when logs are rotated: a new one is begun.

    Args:
        path: the file; it is made if it does not exist, its folder is not.
        name: what its cursor is stored under; by default ``file:`` and the path as it was given.
        guard: by whose schedule it is tried again, on a full disk for instance; see ``Sink``.
    """

    batch = 500
    in_sequence = True

    def __init__(
        self, path: str | os.PathLike[str], *, name: str | None = None, guard: Guard | None = None
    ) -> None:
        self._path = Path(path)
        self.name = name or f"file:{os.fspath(path)}"
        self.guard = guard
        self._lock = Lock()  # a delivery that is cancelled goes on in its thread
        self._fd: int | None = None
        self._last: tuple[str, int] = ("", 0)
        """The store and the sequence number of the last line that was written."""

    async def deliver(self, events: Sequence[Event]) -> None:
        """One write and one sync for all of them."""
        if on_asyncio():  # virtual time waits for an executor
            await asyncio.get_running_loop().run_in_executor(None, self._append, events)
        else:
            await anyio.to_thread.run_sync(self._append, events)

    async def aclose(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _append(self, events: Sequence[Event]) -> None:
        with self._lock:
            self._append_missing(events)

    def _append_missing(self, events: Sequence[Event]) -> None:
        try:
            if self._fd is not None and self._is_moved(self._fd):
                self._close()
            if self._fd is None:
                self._fd = self._open()
            missing = [event for event in events if not self._has(place_of(event.cursor))]
            rest = b"".join(msgspec.json.encode(one.to_cloudevent()) + b"\n" for one in missing)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            os.fsync(self._fd)
        except BaseException:
            self._close()  # what is in the file now is found out when it is opened again
            raise
        if missing:
            self._last = place_of(missing[-1].cursor)

    def _is_moved(self, fd: int) -> bool:
        """The file with this name is another by now, or none."""
        try:
            return not os.path.samestat(os.fstat(fd), self._path.stat())
        except FileNotFoundError:
            return True

    def _has(self, place: tuple[str, int]) -> bool:
        store, seq = place
        return store == self._last[0] and seq <= self._last[1]

    def _open(self) -> int:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(fd).st_size
            end = _end_of_line(fd, size)
            start = _end_of_line(fd, end - 1)
            if end:  # else it is new, and what came before is in one that was renamed
                self._last = self._place(os.pread(fd, end - start, start))
            if end < size:
                os.ftruncate(fd, end)
            _sync_folder(self._path.parent)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _place(self, line: bytes) -> tuple[str, int]:
        try:
            return place_of(msgspec.json.decode(line)["cursor"])
        except (msgspec.MsgspecError, BadCursor, KeyError, TypeError, ValueError):
            raise ValueError(
                f"{self._path}: its last line is not an event: {line[:80]!r}; give another file"
            ) from None

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)


def _end_of_line(fd: int, before: int) -> int:
    """The place behind the last line end in front of ``before``; 0 if there is none."""
    while before > 0:
        start = max(0, before - _BLOCK)
        found = os.pread(fd, before - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        before = start
    return 0


def _sync_folder(folder: Path) -> None:
    """A new file is safe when its name is, too."""
    with suppress(OSError):  # not every system can
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
