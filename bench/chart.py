"""What the server sees, second by second: small multiples, one row per scenario."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.scenarios import OUTAGE, Job, Result

SHOWN = ("ours", "tenacity", "stamina", "backoff")
ROWS = {"shared rate": (120, 600), "outage": (180, 1500)}
"""Seconds and requests a second that are shown."""
HEADS = {
    "shared rate": "1000 tasks, 10 calls each, 100 a second",
    "outage": "1000 users, capacity 800 a second, down for a minute",
}
ACCEPTED, REJECTED, DOWN, INK = "#2a78b8", "#e0483e", "#ececec", "#333333"

mpl.use("agg")


def shows(job: Job) -> bool:
    """Whether it is drawn."""
    return job.scenario in ROWS and job.contender in SHOWN


def draw(results: dict[Job, Result], path: Path) -> None:
    """Write the chart."""
    style: Any = {
        "svg.hashsalt": "herd",
        "font.size": 11,
        "text.color": INK,
        "axes.labelcolor": INK,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(13, 6.2), layout="constrained")
        rows: Any = figure.subfigures(len(ROWS), 1, hspace=0.06)
        for part, scenario in zip(rows, ROWS, strict=True):
            part.suptitle(HEADS[scenario], fontsize=13, fontweight="bold", x=0.01, ha="left")
            panels = part.subplots(1, len(SHOWN), sharey=True)
            for panel, name in zip(panels, SHOWN, strict=True):
                found = next(
                    (
                        r
                        for j, r in results.items()
                        if (j.scenario, j.contender) == (scenario, name)
                    ),
                    None,
                )
                draw_panel(panel, scenario, name, found)
            panels[0].set_ylabel("requests per second")
        legend(figure)
        metadata: dict[str, Any] = {"Date": None}
        figure.savefig(path, metadata=metadata if path.suffix == ".svg" else None)


def draw_panel(panel: Any, scenario: str, name: str, result: Result | None) -> None:
    """One contender in one scenario."""
    seconds, top = ROWS[scenario]
    panel.set(xlim=(0, seconds), ylim=(0, top), xlabel="seconds")
    panel.set_title(name, fontsize=11)
    panel.spines[["top", "right"]].set_visible(False)
    if scenario == "outage":
        panel.axvspan(*OUTAGE, color=DOWN, linewidth=0)
    if result is None:
        panel.text(seconds / 2, top / 2, "not run", ha="center")
        return
    edges = range(len(result.accepted) + 1)
    both = [a + r for a, r in zip(result.accepted, result.rejected, strict=True)]
    panel.stairs(both, edges, baseline=0, fill=True, color=REJECTED, linewidth=0)
    panel.stairs(result.accepted, edges, baseline=0, fill=True, color=ACCEPTED, linewidth=0)
    if max(both) > top:
        said = f"up to {max(both):,}"
        panel.text(seconds, top, said, ha="right", va="top", color=REJECTED)


def legend(figure: Figure) -> None:
    """What the colours mean, once."""
    handles = [
        mpl.patches.Patch(color=ACCEPTED, label="accepted"),
        mpl.patches.Patch(color=REJECTED, label="rejected"),
        mpl.patches.Patch(color=DOWN, label="server down"),
    ]
    figure.legend(handles=handles, loc="upper right", ncols=3, frameon=False, borderaxespad=0)
