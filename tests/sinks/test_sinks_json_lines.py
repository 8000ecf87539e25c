"""The file sink: torn lines, full disks, files of others."""

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from sinks_kit import STORE, events, ids

from pollers.sinks import JsonLines, json_lines
from resilience.testing import run_virtual

OTHER = "b2" * 16


def lines(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_bytes().split(b"\n")[:-1]]


async def write(path: Path, given: list[Any]) -> None:
    sink = JsonLines(path)
    await sink.deliver(given)
    await sink.aclose()


async def test_a_line_torn_anywhere_is_cut_off(tmp_path: Any) -> None:
    """Cut at every byte, the file holds each event once after the batch was delivered again."""
    path = tmp_path / "events.jsonl"
    given = events(3)
    await write(path, given)
    whole = path.read_bytes()
    for size in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:size])
        await write(path, given)
        assert path.read_bytes() == whole


async def test_a_tail_of_zeros_is_cut_off(tmp_path: Any) -> None:
    """What a power cut may leave behind the last sync."""
    path = tmp_path / "events.jsonl"
    await write(path, events(2))
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(5000))
    await write(path, events(2))
    assert path.read_bytes() == whole


async def test_a_line_longer_than_a_block_is_found(tmp_path: Any) -> None:
    """Whatever its length."""
    path = tmp_path / "events.jsonl"
    given = events(2, data="x" * 300_000)
    await write(path, given)
    with path.open("ab") as file:
        file.write(b'{"torn": "' + b"y" * 200_000)
    await write(path, [*given, *events(1, first=3)])
    assert lines(path) == ids(events(3))


async def test_a_full_disk_loses_and_doubles_nothing(tmp_path: Any, monkeypatch: Any) -> None:
    """Half of a batch was written when it was full; after that all of it is there once."""
    path = tmp_path / "events.jsonl"
    given = events(4)
    room = [100]

    def scarce(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        part, room[0] = data[: room[0]], max(0, room[0] - len(data))
        return os.write(fd, part)

    sink = JsonLines(path)
    await sink.deliver(given[:1])
    room[0] = path.stat().st_size + 100
    with monkeypatch.context() as patch:
        patch.setattr(json_lines, "os", _Patched(write=scarce))
        with pytest.raises(OSError, match="No space"):
            await sink.deliver(given[1:])
    assert lines(path)[:2] == ids(given[:2]) and not path.read_bytes().endswith(b"\n")
    await sink.deliver(given[1:])
    await sink.aclose()
    assert lines(path) == ids(given)


class _Patched:
    """The module ``os`` with other functions."""

    def __init__(self, **functions: Any) -> None:
        self.__dict__ |= functions

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


async def test_each_batch_is_synced_before_it_counts(tmp_path: Any, monkeypatch: Any) -> None:
    """The write, then the sync, then the return; an empty remainder is synced too."""
    calls: list[str] = []

    def noting(name: str) -> Any:
        def call(*args: Any) -> Any:
            calls.append(name)
            return getattr(os, name)(*args)

        return call

    patched = _Patched(write=noting("write"), fsync=noting("fsync"))
    monkeypatch.setattr(json_lines, "os", patched)
    sink = JsonLines(tmp_path / "events.jsonl")
    await sink.deliver(events(3))
    assert calls == ["fsync", "write", "fsync"]  # the folder, the batch
    await sink.deliver(events(3))
    assert calls[3:] == ["fsync"]
    await sink.aclose()


async def test_a_file_that_is_rotated_away_is_begun_anew(tmp_path: Any) -> None:
    """Renamed or deleted: nothing goes to where nobody looks, and nothing is there twice."""
    path = tmp_path / "events.jsonl"
    given = events(4)
    sink = JsonLines(path)
    await sink.deliver(given[:2])
    path.rename(tmp_path / "events.1")
    await sink.deliver(given[:3])  # the first two again: their acknowledgement was lost
    assert lines(path) == ids(given[2:3])
    path.unlink()
    await sink.deliver(given[3:])
    await sink.aclose()
    assert lines(path) == ids(given[3:])
    assert lines(tmp_path / "events.1") == ids(given[:2])


async def test_a_new_store_goes_on_in_the_same_file(tmp_path: Any) -> None:
    """Its numbers start at 1 again; they are not taken for those of the store before."""
    path = tmp_path / "events.jsonl"
    await write(path, events(3))
    await write(path, events(2, store=OTHER))
    await write(path, events(3, store=OTHER))
    assert lines(path) == [f"{STORE}:{i}:2" for i in (1, 2, 3)] + [
        f"{OTHER}:{i}:2" for i in (1, 2, 3)
    ]


@pytest.mark.parametrize("text", ["hello\n", "{}\n", '{"cursor": 7}\n', '[]\n{"cursor": "x"}\n'])
async def test_another_file_is_left_alone(text: str, tmp_path: Any) -> None:
    """What does not end with an event is not ours; the message names the file."""
    path = tmp_path / "notes.txt"
    path.write_text(text)
    sink = JsonLines(path)
    with pytest.raises(ValueError, match=r"notes\.txt: its last line is not an event"):
        await sink.deliver(events(1))
    assert path.read_text() == text


async def test_no_descriptor_is_leaked(tmp_path: Any) -> None:
    """By failures neither."""
    before = len(os.listdir("/proc/self/fd"))
    path = tmp_path / "notes.txt"
    path.write_text("hello\n")
    sink = JsonLines(path)
    for _ in range(5):
        with pytest.raises(ValueError):
            await sink.deliver(events(1))
    await write(tmp_path / "events.jsonl", events(1))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("backend", ["asyncio", "trio", "virtual"])
def test_it_works_on_each_loop(backend: str, tmp_path: Any) -> None:
    """Its thread is waited for, in virtual time too."""

    async def main() -> None:
        with anyio.fail_after(30.0):
            await write(tmp_path / "events.jsonl", events(2))
            if backend == "virtual":
                assert anyio.current_time() == 0.0

    run_virtual(main) if backend == "virtual" else anyio.run(main, backend=backend)
    assert lines(tmp_path / "events.jsonl") == ids(events(2))


def test_its_name_is_the_path_as_it_was_given() -> None:
    """So that moving the whole folder loses no cursor."""
    assert JsonLines("out/events.jsonl").name == "file:out/events.jsonl"
    assert JsonLines(Path("e"), name="mine").name == "mine"
