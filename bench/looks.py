"""``python -m bench looks``: delay against looks, ours and the usual ways to poll, by simulation.

Single jobs of five laws first, each way with its one knob turned from few looks to many; then a fleet
of jobs under one limit.  A run depends on its seed alone and never on the machine.
"""

import math
import random
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import fmean

from bench.ours import Ours, learned, live
from bench.yardstick import (
    LAWS,
    PRICES,
    Fleet,
    Ground,
    Oracle,
    Order,
    Queue,
    RoundRobin,
    least_delay,
)

RESULTS = Path(__file__).parent / "results"
SEEDS = 3
WARM, MEASURED = 500, 500
"""Jobs that ours learns from, and jobs that are counted; it goes on learning."""

OUR_PRICES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
KNOBS = [2.0**i for i in range(1, 9)]
"""Seconds: the fixed interval, the longest one of an exponential."""

Curve = list[tuple[float, float]]
"""Pairs of looks per job and mean delay."""


def ours(law: str) -> Curve:
    """Learned looks with all that belongs to them: jitter, exploration, learning."""
    curve = []
    for price in OUR_PRICES:
        seen = []
        for seed in range(SEEDS):
            looks, rng = learned(LAWS[law], WARM, price, seed), random.Random(1000 + seed)
            jobs = [LAWS[law].draw(rng) for _ in range(MEASURED)]
            seen += [live(looks, takes, price, rng) for takes in jobs]
        curve.append((fmean(looks for _, looks in seen), fmean(delay for delay, _ in seen)))
    return curve


def planned(law: str, plans: list[Callable[[], Iterator[float]]]) -> Curve:
    """Plans that know nothing."""
    ground = Ground(LAWS[law])
    return [ground.cost(plan())[::-1] for plan in plans]


def fixed(every: float) -> Iterator[float]:
    """The same interval for ever."""
    return (every * i for i in count(1))


def growing(first: float, factor: float, longest: float) -> Iterator[float]:
    """Intervals that grow."""
    age, interval = 0.0, first
    while True:
        age += min(interval, longest)
        interval = min(interval * factor, longest)
        yield age


WAYS: dict[str, Callable[[str], Curve]] = {
    "ours": ours,
    "fixed": lambda law: planned(law, [lambda k=k: fixed(k) for k in KNOBS]),
    "exponential": lambda law: planned(law, [lambda k=k: growing(1.0, 2.0, k) for k in KNOBS]),
    "vendor, 5 s by 1.5 up to 30 s": lambda law: planned(law, [lambda: growing(5.0, 1.5, 30.0)]),
    "azure, 30 s": lambda law: planned(law, [lambda: fixed(30.0)]),
    "exponential, no limit": lambda law: planned(law, [lambda: growing(1.0, 2.0, math.inf)]),
}

ORDERS: dict[str, Callable[[Fleet], Order]] = {
    "oracle": lambda fleet: Oracle(fleet.noise),
    "**ours**": lambda fleet: Ours(fleet.batch, seed=fleet.seed),
    "ours, lengths unknown": lambda fleet: Ours(fleet.batch, feature=False, seed=fleet.seed),
    "round robin": lambda _: RoundRobin(),
    "fixed 10 s, queued": lambda _: Queue(lambda _: 10.0),
    "azure, 30 s, queued": lambda _: Queue(lambda _: 30.0),
    "vendor, 5 s by 1.5 up to 30 s, queued": lambda _: Queue(
        lambda n: min(5.0 * 1.5 ** min(n, 9), 30.0)
    ),
    "exponential up to 60 s, queued": lambda _: Queue(lambda n: min(2.0 ** min(n, 6), 60.0)),
}


SINGLE_NOTES = f"""\
Mean delay in seconds (looks per job; delay over the least possible with so many). Ours: after \
{WARM} jobs, while it learns on, {MEASURED} jobs, {SEEDS} seeds, at `look_price=0.25`; fixed and \
exponential: the knob with the nearest number of looks.
"""

FLEET_NOTES = f"""\
{Fleet().jobs:,} jobs at any time, {Fleet().batch} looks a second, which is four for each; lognormal \
lengths (sigma 1) that foretell the time within sigma {Fleet().noise}. Everything is learned from \
nothing in the first {Fleet().warm:,.0f} s; {SEEDS} seeds.
"""


def main() -> None:
    """Run it all and write the table and the chart."""
    singles: dict[str, dict[str, Curve]] = {}
    for law in LAWS:
        print(f"looks: {law}", file=sys.stderr)
        singles[law] = {"least possible": Ground(LAWS[law]).frontier(PRICES)}
        singles[law] |= {name: way(law) for name, way in WAYS.items()}
    print("looks: fleets", file=sys.stderr)
    fleets = {
        name: [Fleet(seed=seed).run(make(Fleet(seed=seed))) for seed in range(1, SEEDS + 1)]
        for name, make in ORDERS.items()
    }
    RESULTS.mkdir(exist_ok=True)
    text = markdown(singles, fleets)
    (RESULTS / "looks.md").write_text(text)
    print(text)
    try:
        from bench import looks_chart
    except ImportError:
        print("matplotlib is not installed: no chart", file=sys.stderr)
    else:
        looks_chart.draw(singles, RESULTS / "looks.svg")


def markdown(singles: dict[str, dict[str, Curve]], fleets: dict[str, list[list[float]]]) -> str:
    """Both tables."""
    parts = [
        "# Looks: how soon an end is seen, and what it costs\n",
        "## One job at a time\n",
        SINGLE_NOTES,
        "| law | " + " | ".join(WAYS) + " |",
        "|---|" + "---|" * len(WAYS),
        *(row(law, curves) for law, curves in singles.items()),
        "\n## A fleet under one limit\n",
        FLEET_NOTES,
        "| order | mean delay, s | 95 % within, s | over the oracle |",
        "|---|---|---|---|",
    ]
    oracle = fmean(fmean(run) for run in fleets["oracle"])
    for name, runs in fleets.items():
        mean = fmean(fmean(run) for run in runs)
        most = fmean(run[int(0.95 * len(run))] for run in runs)
        parts.append(f"| {name} | {mean:.1f} | {most:.0f} | {mean / oracle:.2f} |")
    return "\n".join(parts) + "\n"


def row(law: str, curves: dict[str, Curve]) -> str:
    """One law: ours at its default, the others with as many looks if they have a knob."""
    at = curves["ours"][OUR_PRICES.index(0.25)][0]
    cells = []
    for name in WAYS:
        looks, delay = min(curves[name], key=lambda point: abs(math.log(point[0] / at)))
        if name == "ours":
            looks, delay = curves["ours"][OUR_PRICES.index(0.25)]
        try:
            over = f"{delay / least_delay(curves['least possible'], looks):.2f}"
        except ValueError:
            over = "-"
        cells.append(f"{delay:.1f} ({looks:.1f}; {over})")
    return f"| {law} | " + " | ".join(cells) + " |"
