"""What the demo shows: a live board on a terminal, plain lines elsewhere, and the summary."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pollers._core.events import TERMINAL, Event
from pollers.cli.show import counted_looks
from pollers.emulator import Seen

if TYPE_CHECKING:
    from pollers.cli.demo import Story

_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "expired": "yellow",
    "UNPARSE": "cyan",
    "uploading": "blue",
}
_DONE = ("succeeded", "failed", "expired")


class Board:
    """One line per file."""

    def __init__(self, *, plain: bool) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._rows: dict[str, tuple[str, str, str]] = {}
        self._names: dict[str, str] = {}
        self._live = (
            None
            if plain
            else Live(console=self._console, refresh_per_second=8, get_renderable=self._draw)
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(Text(text))

    def file(self, name: str) -> None:
        """A file that will be uploaded."""
        self._rows[name] = ("waiting", "", "")

    def status(self, name: str, status: str, number: str = "") -> None:
        """What is known about a file."""
        if self._rows[name][0] in _DONE or self._rows[name][0] == status:
            return
        self._rows[name] = (status, number, "")
        if number:
            self._names[number] = name
        if self._live is None and status != "done, not seen yet":
            self.say(f"  {name:<22} {status:<10} {number}")

    def ended(self, event: dict[str, Any]) -> None:
        """A terminal event; told once, even if a new process prints the stored one again."""
        name = self._names[event["subject"]]
        word = event["type"].rsplit(".", 1)[-1]
        if self._rows[name][0] == word:
            return
        data = event["data"]
        told = f"{data['status']} after {data['elapsed']:.1f} s, {counted_looks(data['looks'])}"
        told += f": {data['cause']}" if data["cause"] else ""
        self._rows[name] = (word, event["subject"], told)
        if self._live is None:
            self.say(f"  {name:<22} {word:<10} {event['subject']}  {told}")

    def _draw(self) -> Group:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, (status, number, told) in self._rows.items():
            table.add_row(name, Text(status, _STYLES.get(status, "")), Text(number, "dim"), told)
        done = sum(status in _DONE for status, _, _ in self._rows.values())
        return Group(table, ProgressBar(total=max(1, len(self._rows)), completed=done, width=60))


def summary(
    story: "Story", requests: Sequence[Seen], stored: Sequence[Event], *, good: bool
) -> None:
    """Codes met and what was done about each, waits, requests, detection delay, and the proof."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n[bold]Codes met, and what was done about each[/]")
    console.print(_codes(story, requests))
    waited = sum(call.waited for call in story.calls)
    uploads = Counter(seen.code or seen.status for seen in requests if seen.interface == "upload")
    looks = sum(seen.interface in ("list", "metadata") for seen in requests)
    console.print(
        f"\nuploads    {sum(uploads.values())} requests for {len(story.numbers)} files, "
        f"{waited:.1f} s waited in the gate by all tasks together, topped up once"
    )
    console.print(f"looks      {looks} requests for {len(story.numbers)} videos")
    console.print(f"detection  {_delays(story)}")
    ends = Counter(type(event).__name__ for event in stored if isinstance(event, TERMINAL))
    told = ", ".join(f"{count} {name}" for name, count in sorted(ends.items()))
    console.print(f"events     {len(stored)} stored; terminal: {told}; poller killed (-9) half-way")
    verdict = (
        "every video has exactly one terminal event: nothing was lost"
        if good
        else "NOT as it should be"
    )
    console.print(f"[bold {'green' if good else 'red'}]{verdict}[/]")


def _codes(story: "Story", requests: Sequence[Seen]) -> Table:
    table = Table("answer", "on", "times", "verdict", "what was done", box=None, pad_edge=False)
    met: Counter[tuple[str, str, str]] = Counter()
    for seen in requests:
        if seen.fault and not seen.code:
            met[(str(seen.status or "connection cut"), seen.interface, seen.fault)] += 1
        else:
            met[(str(seen.code or seen.status), seen.interface, "")] += 1
    for (answer, interface, fault), times in sorted(met.items()):
        found = story.policy.explain(answer, message="network" if answer == "0001" else "")
        verdict, done = found.verdict.value, _DEEDS.get(found.verdict.value, "")
        if answer in ("200", "connection cut"):
            verdict, done = "retryable", "looked again"
        if found.recovers is not None:
            verdict, done = f"quota, {found.recovers}", _DEEDS[found.recovers.value]
        if answer == "0000":
            verdict, done = "success", ""
        shown = fault if answer in ("200", "connection cut") else answer
        table.add_row(shown, interface, str(times), verdict, done)
    return table


_DEEDS = {
    "retryable": "waited and tried again",
    "fatal": "not repeated",
    "window": "everybody waited together, no attempt spent",
    "exhausted": "failed fast, topped up, went on after one probe",
}


def _delays(story: "Story") -> str:
    """How long after the provider was done the poller knew it, the time of the kill included."""
    from datetime import datetime

    delays = [
        datetime.fromisoformat(event["time"]).timestamp() - story.ended_at[number]
        for number, event in story.seen.items()
    ]
    if not delays:
        return "nothing was detected"
    return (
        f"{sum(delays) / len(delays):.2f} s after the end on average, {max(delays):.2f} s at most"
    )
