"""``make mutants``: small faults, put one at a time into the rooms that decide; the suite must notice.

    make mutants               a sample: 40 faults of each module, about a quarter of an hour on two cores
    make mutants SAMPLE=400    ten times as many        make mutants ROOM=admission.gate    one module's
    make mutants SEED=7        another sample           make mutants MINUTES=60             no longer

mutmut makes the faults and runs the tests that reach them (``[tool.mutmut]`` in pyproject.toml); a
sample is the same every time, and so are the examples of Hypothesis.  The table and every survivor's
diff are in ``mutants/report.md``.  Survivors that are no fault at all, about one in twenty of all
mutants, are listed in tests/mutants.md.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

MUTMUT = [str(Path(sys.executable).with_name("mutmut"))]
REPORT = Path("mutants/report.md")
KILLED = ("killed", "timeout", "segfault")
FIRST = "resilience._core.instants.x_later__mutmut_1"
"""Asking for one makes them all, and finds out which tests reach which function."""


def mutmut(*arguments: str) -> str:
    """What it prints."""
    done = subprocess.run([*MUTMUT, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def run(names: list[str], *, seconds: float | None = None) -> None:
    """Test these, for at most so long; what was found by then is kept."""
    command = [*MUTMUT, "run", "--max-children", str(os.cpu_count() or 1), *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate()
        else:
            if process.returncode:
                sys.exit(printed)


def results() -> dict[str, dict[str, str]]:
    """What is known of every mutant, by module: ``{"…admission.gate": {name: "killed"}}``."""
    known: dict[str, dict[str, str]] = defaultdict(dict)
    for line in mutmut("results", "--all", "true").splitlines():
        name, _, status = line.strip().partition(": ")
        known[name.rpartition(".")[0]][name] = status
    return known


def chosen(room: str, sample: int, seed: int) -> list[str]:
    """The same of each module every time."""
    names = []
    for module, mutants in sorted(results().items()):
        if room in module:
            ordered = sorted(mutants)
            names += random.Random(seed).sample(ordered, min(sample, len(ordered)))
    return names


def report(names: list[str]) -> tuple[str, float]:
    """The table and the survivors' diffs, and the share that was killed."""
    lines = [
        "| module | mutants | run | killed | of them by time-out | survived | no test | killed, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    wanted, total, survivors = set(names), Counter[str](), []
    for module, mutants in sorted(results().items()):
        counted = Counter(status for name, status in mutants.items() if name in wanted)
        counted["mutants"] = len(mutants)
        total += counted
        if counted.total() > len(mutants):
            lines.append(row(module, counted))
        survivors += [
            n for n, s in mutants.items() if n in wanted and s in ("survived", "no tests")
        ]
    lines += [row("all", total), "", f"## The {len(survivors)} that survived", ""]
    for name in survivors:
        lines += ["```diff", mutmut("show", name).strip(), "```"]
    return "\n".join(lines) + "\n", share(total)


def row(module: str, counted: Counter[str]) -> str:
    """A line of the table."""
    killed = sum(counted[status] for status in KILLED)
    cells = (
        module, counted["mutants"], ran(counted), killed, counted["timeout"], counted["survived"],
        counted["no tests"], f"{100 * share(counted):.1f}",
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def ran(counted: Counter[str]) -> int:
    """How many were tested."""
    return sum(counted[status] for status in (*KILLED, "survived", "no tests"))


def share(counted: Counter[str]) -> float:
    """Of those that were tested, how many were killed."""
    return sum(counted[status] for status in KILLED) / max(ran(counted), 1)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--room", default="", help="part of the names of modules")
    parser.add_argument("--sample", type=int, default=40, help="faults of each module")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--minutes", type=float, default=None, help="the longest it may take")
    parser.add_argument(
        "--least", type=float, default=90.0, help="per cent that must be killed: some are no fault"
    )
    settings = parser.parse_args()
    os.environ.setdefault("HYPOTHESIS_PROFILE", "mutants")
    run([FIRST])
    names = chosen(settings.room, settings.sample, settings.seed)
    run(names, seconds=settings.minutes and 60 * settings.minutes)
    text, killed = report(names)
    REPORT.write_text(text)
    print(text.partition("\n## ")[0])
    print(f"survivors: {REPORT}")
    if 100 * killed < settings.least:
        sys.exit(f"{100 * killed:.1f} % were killed, {settings.least:g} % should be")


if __name__ == "__main__":
    main()
