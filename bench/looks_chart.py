"""Delay against looks per job: a panel per law, a line per way to poll."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

Curve = list[tuple[float, float]]

STYLES: dict[str, dict[str, Any]] = {
    "least possible": {"color": "#333333", "linestyle": ":", "linewidth": 1.5},
    "ours": {"color": "#2a78b8", "marker": "o", "markersize": 4, "linewidth": 2},
    "fixed": {"color": "#7f7f7f", "marker": ".", "linewidth": 1},
    "exponential": {"color": "#e0483e", "marker": ".", "linewidth": 1},
    "vendor, 5 s by 1.5 up to 30 s": {"color": "#d98a1f", "marker": "^", "linestyle": ""},
    "azure, 30 s": {"color": "#6a51a3", "marker": "s", "linestyle": ""},
    "exponential, no limit": {"color": "#e0483e", "marker": "x", "linestyle": ""},
}

mpl.use("agg")


def draw(singles: dict[str, dict[str, Curve]], path: Path) -> None:
    """Write the chart."""
    with mpl.rc_context({"svg.hashsalt": "looks", "font.size": 11}):
        figure = Figure(figsize=(13, 3.9), layout="constrained")
        panels: Any = figure.subplots(1, len(singles), sharey=True)
        for panel, (law, curves) in zip(panels, singles.items(), strict=True):
            panel.set_title(law, fontsize=11)
            for name, style in STYLES.items():
                panel.plot(*zip(*sorted(curves[name]), strict=True), label=name, **style)
            panel.set(xscale="log", yscale="log", xlim=(1.5, 60), ylim=(1, 150))
            panel.set_xlabel("looks per job")
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_xticks([2, 5, 10, 20, 50])
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_formatter(ScalarFormatter())
                axis.set_minor_formatter(NullFormatter())
        panels[0].set_ylabel("mean delay, seconds")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
        metadata: dict[str, Any] = {"Date": None}
        figure.savefig(path, metadata=metadata if path.suffix == ".svg" else None)
