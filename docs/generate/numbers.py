"""The table of the comparison, from the results of the benchmark."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

_RESULTS = Path(__file__).parents[2] / "bench/results/herd.json"
_TRIP = 0.05
_LIBRARIES = ("ours", "tenacity", "backoff", "stamina", "redress", "nopanic")
_HERDS = {
    "shared rate": "1000 tasks, 10 calls each, 100 a second, no hint",
    "exact hint": "500 tasks, 50 per 10 s, exact hint",
    "in flight": "200 tasks, 5 in flight",
}
_OUTAGE = "requests per user in an outage of a minute"


def table() -> str:
    """Rejected per useful call and time ÷ ideal, a row a scenario; medians of the seeds."""
    runs = json.loads(_RESULTS.read_text("utf-8"))["runs"]
    return "\n".join(_rows(runs))


def _rows(runs: list[dict[str, Any]]) -> Iterator[str]:
    yield _row(["", *_LIBRARIES])
    yield _row(["---"] * (len(_LIBRARIES) + 1))
    for scenario, about in _HERDS.items():
        figures = (
            f"{_median(runs, scenario, library, 'wasted'):.2f}, "
            f"{_median(runs, scenario, library, 'stretch'):.2f}"
            for library in _LIBRARIES
        )
        yield _row([about, *figures])
    each = (f"{_median(runs, 'outage', library, 'per_user'):.1f}" for library in _LIBRARIES)
    yield _row([_OUTAGE, *each])


def _median(runs: list[dict[str, Any]], scenario: str, library: str, figure: str) -> float:
    asked = (scenario, library, _TRIP)
    figures: list[float] = [
        run[figure] for run in runs if (run["scenario"], run["contender"], run["trip"]) == asked
    ]
    return median(figures)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
