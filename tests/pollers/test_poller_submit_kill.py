"""``kill -9`` of a process that submits: what was made is found, and nothing is made twice."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("submit_crash.py")


def rounds(folder: Path, *how: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(PROGRAM), str(folder), *how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def wrong(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rounds in which a job was made twice, lost, invented, or decided more or less than once."""
    return [
        one for one in found
        if one["intents"]
        and (
            one["twice"] or one["lost"] or one["invented"]
            or one["ends"] != [1] * one["intents"]
        )
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_between_any_two_steps(tmp_path: Path) -> None:
    """Before and behind each commit and each job that the provider makes."""
    found = rounds(tmp_path, "steps")
    assert wrong(found) == []
    assert [one["killed"] for one in found] == [True] * (len(found) - 1) + [False]
    assert (found[-1]["intents"], found[-1]["made"], found[-1]["ends"]) == (3, 3, [1, 1, 1])
    between = {(one["intents"], one.get("made")) for one in found}
    assert {(1, 0), (1, 1), (3, 2), (3, 3)} <= between
    assert len(found) > 15


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_at_random_instants(tmp_path: Path) -> None:
    """Thirty times."""
    found = rounds(tmp_path, "chance", "30")
    assert wrong(found) == []
    assert sum(one["killed"] for one in found) > 10
