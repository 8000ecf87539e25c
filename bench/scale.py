"""``python -m bench scale``: a million jobs in one process, and what the store takes a second.

Every line is measured in a process of its own (``bench.scale_parts``); ``--quick`` takes a tenth of
everything.  Times are of this machine and of whatever else it does; memory and counts are not.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
WATCHED = 20
"""Seconds of looking that are measured."""

NOTES = """\
One process, its event loop and its SQLite store with `synchronous=FULL`; looks over HTTP at a server \
on loopback, five requests a second of 200 videos, each with a length and a size of its own. Resident \
memory is the whole process's, in MB (10^6 bytes).
"""
CROWD_NOTES = """\
In virtual time, by the whole poller: seconds from an end to its detection. A round is what the limit \
takes to look at each job once.
"""


def part(*given: Any) -> dict[str, Any]:
    """What one part found."""
    command = [sys.executable, "-m", "bench.scale_parts", *map(str, given)]
    print("scale:", *given, file=sys.stderr)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def restarted(path: Path, jobs: int) -> dict[str, Any]:
    """The part that needs a server beside it."""
    command = [sys.executable, "-m", "bench.scale_parts", "serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            return part("restart", path, port, jobs, WATCHED)
        finally:
            server.stdin.close()
            server.wait()


def main(*, quick: bool = False) -> None:
    """Run it all and write the table."""
    jobs = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "jobs.db"
        filled = part("fill", file, jobs)
        part("settle", file)
        again = restarted(file, jobs)
        moved = part("transitions", Path(folder) / "moved.db", jobs // 5, jobs // 20)
        made = part("register", Path(folder) / "made.db", jobs // 10)
    crowds = {law: part("burst", jobs // 10, law) for law in ("all at once", "lognormal")}
    RESULTS.mkdir(exist_ok=True)
    text = markdown(jobs, filled, again, moved, made) + burst(crowds)
    (RESULTS / "scale.md").write_text(text)
    print(text)


def markdown(
    jobs: int,
    filled: dict[str, Any],
    again: dict[str, Any],
    moved: dict[str, Any],
    made: dict[str, Any],
) -> str:
    """The first table."""
    rows = [
        ("resident after registering, the imports alone", "300 MB",
         f"{filled['resident']:.0f}, {filled['imported']:.0f} MB"),
        ("resident after a restart, all taken up and looked at", "300 MB",
         f"{again['resident']:.0f} MB (at most {again['peak']:.0f})"),
        ("restart to first look", "8 s", f"{again['first_look']:.2f} s"),
        ("restart to all taken up", "-",
         f"{again['loaded']:.0f} s ({again['load_cpu']:.0f} s of one core)"),
        ("of one core at 1,000 looks a second", "20 %", f"{100 * again['cpu_at_1000']:.0f} %"),
        ("longest stall of the loop: registering, taking up, looking", "50 ms",
         " ".join(f"{1000 * stall:.0f}" for stall in (
             filled["longest_stall"], again["load_stall"], again["longest_stall"])) + " ms"),
        ("transitions a second, 200 a commit", "15,000",
         f"{moved['rate']:,.0f} ({moved['rate_of_cpu']:,.0f} per second of CPU)"),
        ("ids a second by `watch_many`", "50,000",
         f"{made['rate']:,.0f} ({made['rate_of_cpu']:,.0f} per second of CPU)"),
    ]  # fmt: skip
    lines = [
        f"# Scale: {jobs:,} pending jobs in one process\n",
        NOTES,
        "| what | target | measured |",
        "|---|---|---|",
        *(f"| {what} | {target} | {found} |" for what, target, found in rows),
    ]
    return "\n".join(lines) + "\n"


def burst(crowds: dict[str, dict[str, Any]]) -> str:
    """The second table."""
    lines = [
        "\n## A crowd at once under five requests a second\n",
        CROWD_NOTES,
        "| they end | round | mean | 99 % within | last | looks each | batches filled |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {law} | {one['sweep']:.0f} | {one['mean']:.1f} | {one['p99']:.1f} "
            f"| {one['worst']:.1f} | {one['looks']:.1f} | {100 * one['fill']:.1f} % |"
            for law, one in crowds.items()
        ),
    ]
    return "\n".join(lines) + "\n"
