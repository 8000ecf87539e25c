"""``python -m bench herd``: a crowd before a limit, ours and the peers', in virtual time.

A run depends on its job alone and never on the machine, so runs are spread over all cores.  Nothing
new is started once the time is over; what is missing is said, and shown as a dash.
"""

import json
import os
import platform
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

from bench import chart, peers, tables
from bench.scenarios import SCENARIOS, Job, Result, run

RESULTS = Path(__file__).parent / "results"
TRIP = 0.05
OTHER_TRIPS = (0.0, 0.5)
CHEAP = ("shared rate", "exact hint", "in flight")
SEEDS = 5
SEEDS_OF_OTHER_TRIPS = 3
LIMIT, QUICK_LIMIT = 900.0, 45.0
"""Seconds after which nothing new is started; the last ones take a few more."""


def plan(contenders: list[str], *, quick: bool) -> list[Job]:
    """What to run, the most telling first."""
    peer_names = [name for name in contenders if not name.startswith("ours")]
    drawn = [name for name in reversed(chart.SHOWN) if name in peer_names]
    dear = [name for name in reversed(SCENARIOS) if name not in CHEAP]
    first = [
        *(Job(scenario, "ours", TRIP, 1) for scenario in reversed(SCENARIOS)),
        *(Job(scenario, name, TRIP, 1) for scenario in CHEAP for name in peer_names),
        *(Job("outage", name, TRIP, 1) for name in drawn),
        *(Job(scenario, name, TRIP, 1) for scenario in dear for name in peer_names),
        Job("outage", "ours, as shipped", TRIP, 1),
    ]
    first = list(dict.fromkeys(first))
    if quick:
        return first
    short = [name for name in SCENARIOS if name != "outage"]
    return [
        *first,
        *(Job(s, "ours", trip, 1) for s in reversed(SCENARIOS) for trip in OTHER_TRIPS),
        *(Job(s, "ours", TRIP, 1 + n) for n in range(1, SEEDS) for s in short),
        *(Job(s, name, trip, 1) for s in CHEAP for name in peer_names for trip in OTHER_TRIPS),
        *(
            Job(s, "ours", trip, 1 + n)
            for n in range(1, SEEDS_OF_OTHER_TRIPS)
            for s in short
            for trip in OTHER_TRIPS
        ),
    ]


def work(jobs: list[Job], limit: float) -> dict[Job, Result]:
    """Run them on all cores; start none after ``limit`` seconds."""
    start = time.monotonic()
    results: dict[Job, Result] = {}
    cores = os.cpu_count() or 1
    waiting = list(reversed(jobs))
    running: dict[Future[Result], Job] = {}
    with ProcessPoolExecutor(cores) as pool:
        while running or waiting:
            if time.monotonic() - start > limit:
                waiting.clear()
            while waiting and len(running) < cores:
                job = waiting.pop()
                running[pool.submit(run, job)] = job
            for future in wait(running, return_when=FIRST_COMPLETED)[0]:
                job = running.pop(future)
                try:
                    results[job] = future.result()
                except Exception as error:
                    print(f"\n{job}: {type(error).__name__}: {error}", file=sys.stderr)
            progress(len(results), len(jobs), time.monotonic() - start)
    progress(len(results), len(jobs), time.monotonic() - start, end="\n")
    return dict(sorted(results.items(), key=lambda pair: jobs.index(pair[0])))


def progress(done: int, total: int, seconds: float, end: str = "") -> None:
    """One line, on a terminal only."""
    if sys.stderr.isatty() or end:
        print(f"\r{done} of {total} runs, {seconds:.0f} s", end=end, file=sys.stderr, flush=True)


def save(results: dict[Job, Result], versions: dict[str, str], text: str) -> None:
    """All numbers, the tables and the chart."""
    RESULTS.mkdir(exist_ok=True)
    runs = [
        {**asdict(job), **result.metrics, "failures": result.failures}
        for job, result in results.items()
    ]
    drawn = [
        {
            "scenario": job.scenario,
            "contender": job.contender,
            "accepted": result.accepted,
            "rejected": result.rejected,
        }
        for job, result in results.items()
        if (job.trip, job.seed) == (TRIP, 1) and chart.shows(job)
    ]
    numbers = {"versions": versions, "runs": runs, "per_second": drawn}
    written = json.dumps(numbers, indent=1).replace(",\n    ", ", ").replace("[\n    ", "[")
    (RESULTS / "herd.json").write_text(written + "\n", encoding="utf-8")
    (RESULTS / "herd.md").write_text(text, encoding="utf-8")
    chart.draw(
        {job: result for job, result in results.items() if (job.trip, job.seed) == (TRIP, 1)},
        RESULTS / "herd.svg",
    )


def main(*, quick: bool = False) -> None:
    """The program."""
    contenders = peers.available()
    jobs = plan(contenders, quick=quick)
    results = work(jobs, QUICK_LIMIT if quick else LIMIT)
    missing = [job for job in jobs if job not in results]
    versions = {"Python": platform.python_version()}
    versions |= {name: said for name in contenders if (said := peers.version(name))}
    text = tables.markdown(results, versions, missing=len(missing))
    save(results, versions, text)
    print(text)
    print(f"written: {', '.join(f'bench/results/herd.{kind}' for kind in ('json', 'md', 'svg'))}")
