"""The whole system under seeded faults: thousands of lives of a poller, its provider, disk and consumers.

``SEEDS=20000 pytest tests/simulation -n auto`` plays more; ``FIRST=4711 SEEDS=1`` plays one again.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sim_check import play
from sim_submits import STEPS
from sim_world import File

FIRST = int(os.environ.get("FIRST", "0"))
SEEDS = int(os.environ.get("SEEDS", "2000"))
CHUNK = 50
TRIO = 5
"""One in so many is played on trio."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_nothing_is_lost_and_nothing_happens_twice(first: int) -> None:
    """Whatever goes wrong, each job has one end, and each event one effect."""
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        play(seed, on_trio=seed % TRIO == TRIO - 1)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + min(SEEDS, 40)))
def test_on_a_real_file(seed: int, tmp_path: Path) -> None:
    """The same with SQLite; each process opens what a crash of the one before it left."""
    folder = tmp_path / "disk"
    folder.mkdir()
    play(seed, disk=File(folder))


@pytest.mark.parametrize("on_trio", [False, True])
def test_a_seed_decides_everything(on_trio: bool) -> None:
    """The same seed, the same trace: a failure can be played again."""
    for seed in range(5):
        first, second = (play(seed, on_trio=on_trio).trace.lines for _ in range(2))
        assert len(first) > 100
        assert first == second
    assert play(1).trace.lines != play(2).trace.lines


@pytest.mark.slow
@pytest.mark.parametrize("on_trio", [False, True])
def test_a_seed_decides_everything_elsewhere(on_trio: bool) -> None:
    """In another process, whose sets and hashes have another order, it is the same trace."""
    program = f"import sim_check; print(hash(0), *sim_check.play(7, on_trio={on_trio}).trace.lines, sep='\\n')"
    traces = [
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": str(Path(__file__).parent)},
        ).stdout
        for number in ("1", "2")
    ]  # fmt: skip
    assert traces[0].count("\n") > 100
    assert traces[0] == traces[1]


@pytest.mark.timeout(0)
def test_the_simulation_reaches_what_it_is_about() -> None:
    """Otherwise its invariants would prove little."""
    met: Counter[str] = Counter()
    for seed in (*range(300, 400), *range(300)):  # what is rarest comes late
        here = play(seed)
        met.update(row.type for row in here.events)
        met.update(row.data.get("reason") for row in here.events if row.type == "uncertain")
        met.update({"parked": len(here.parked), "pruned": len(here.gone)})
        steps: dict[Any, str] = {}
        for _, process, *what in here.trace.lines:
            words = [str(word) for word in what[:2]]
            met.update(word for word in words if word in REACHED)
            if words == ["dies"]:
                met[f"dies in {steps[process]}"] += 1
            steps[process] = " ".join(words if words[0] in ("register", "commit") else words[:1])
        met["rejected"] += sum(one.rejected for one in here.provider.accounts.values())
        met["overlap"] += here.overlapped
        rare = [word for word in REACHED if met[word] < (1 if word.startswith("dies in") else 5)]
        if not rare:
            return
    raise AssertionError(f"{rare} of {met}")


REACHED = (
    "watching", "changed", "succeeded", "failed", "expired", "cancelled", "stalled", "resumed",
    "dies", "parked", "pruned", "rejected", "overlap", "unpark",
    "submitting", "uncertain", "none", "several", "no_search", "orders", "searches", "decides",
    *(f"dies in {step}" for step in STEPS), "dies in register done",
)  # fmt: skip
