"""The results of the herd as Markdown."""

import math
import statistics

from bench.peers import MAKERS
from bench.scenarios import SCENARIOS, Job, Result

TITLES = {
    "wasted": "rejected per useful call",
    "stretch": "time ÷ ideal",
    "failed": "failed calls",
    "fairness": "larger ÷ smaller share at half-time",
    "per_user": "requests per user in the outage",
    "recovery": "seconds until 90 % are back",
    "steady": "accepted/s before",
    "after": "accepted/s in the minute after",
}
DIGITS = {"wasted": 3, "stretch": 3, "failed": 0, "fairness": 2, "per_user": 1, "recovery": 0,
          "steady": 0, "after": 0}  # fmt: skip

MORE_IS_BETTER = ("steady", "after")

NOTES = """\
Virtual time; a run depends on its seed alone. Cells give the median of the seeds, and \
behind ≤ or ≥ the worst if that differs. Round trips are in seconds.

All may try 100 times (1000 in the outage), so that few calls fail. tenacity: `wait_random_exponential\
(multiplier=1, max=32)`, `wait_exception` for a hint. stamina: its defaults, no time-out, the hint \
through its hook. backoff and python-backoff: `expo` up to 32 s with full jitter, `runtime` for a hint. \
aiohttp-retry schedule: the waits of its `ExponentialRetry` in a loop of ours (it has no jitter and \
ignores hints). redress: decorrelated jitter up to 60 s, `retry_after_or`; in the outage jitter up to \
5 s, a shared budget of 24,000 retries a minute and a shared breaker (800 failures in 60 s). nopanic: \
`retry` around `adaptive_rate_limit(200)`; in the outage `retry` with a shared `RetryBudget` around a \
shared `circuit_breaker`, waiting while that is open. In the outage our rule for the code has the \
catalog's waits without its limit of three attempts, which "as shipped" has.
"""


def markdown(results: dict[Job, Result], versions: dict[str, str], *, missing: int) -> str:
    """Everything: a table per scenario."""
    parts = ["# A crowd before a limit\n", NOTES]
    parts.append("Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".\n")
    if missing:
        parts.append(f"{missing} planned runs were not made: the time was over.\n")
    for name, scenario in SCENARIOS.items():
        rows = {job: result for job, result in results.items() if job.scenario == name}
        if rows:
            parts.append(f"## {name.capitalize()}\n\n{scenario.play.__doc__}\n")
            parts.append(table(rows, scenario.columns, versions))
    return "\n".join(parts)


def table(rows: dict[Job, Result], columns: tuple[str, ...], versions: dict[str, str]) -> str:
    """One scenario: a row per contender and round trip."""
    keys = list({(job.trip, job.contender) for job in rows})
    order = list(MAKERS)
    keys.sort(key=lambda key: (key[0], order.index(key[1])))
    lines = ["| | round trip | seeds | " + " | ".join(TITLES[name] for name in columns) + " |"]
    lines.append("|---|---|---|" + "---|" * len(columns))
    for trip, contender in keys:
        runs = [r for job, r in rows.items() if (job.trip, job.contender) == (trip, contender)]
        cells = [cell([run.metrics[name] for run in runs], name) for name in columns]
        label = f"**{contender}**" if contender.startswith("ours") else contender
        label = f"{label} {versions.get(contender, '')}".strip()
        lines.append(f"| {label} | {trip:g} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(numbers: list[float], name: str) -> str:
    """The median, and the worst if it differs."""
    sign, worst = ("≥", min(numbers)) if name in MORE_IS_BETTER else ("≤", max(numbers))
    shown, limit = (
        "never" if math.isinf(value) else f"{value:,.{DIGITS[name]}f}"
        for value in (statistics.median(numbers), worst)
    )
    return shown if shown == limit else f"{shown} {sign} {limit}"
