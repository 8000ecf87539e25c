"""``kill -9`` of a poller with a sink: nothing is lost, and nothing takes effect twice."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("sinks_crash.py")


def rounds(how: str, kind: str, folder: Path, servers: Any, *count: str) -> list[dict[str, Any]]:
    place = "nowhere" if kind == "file" else servers(kind)
    command = [sys.executable, str(PROGRAM), how, kind, str(folder), place, *count]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["file", "redis", "nats"])
def test_killed_between_any_two_steps(kind: str, tmp_path: Path, servers: Any) -> None:
    """Before and behind each commit, mark, write, sync, command: then it goes on as if never."""
    found = rounds("steps", kind, tmp_path, servers)
    assert [one for one in found if one["lost"] or one["doubled"] or not one["in_order"]] == []
    assert [one["killed"] for one in found] == [True] * (len(found) - 1) + [False]
    assert len(found) > 20
    assert {one["events"] for one in found} <= {12, 13, 14, 15}


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["file", "redis", "nats"])
def test_killed_at_random_instants(kind: str, tmp_path: Path, servers: Any) -> None:
    """Forty times each."""
    found = rounds("chance", kind, tmp_path, servers, "40")
    assert [one for one in found if one["lost"] or one["doubled"] or not one["in_order"]] == []
    assert sum(one["killed"] for one in found) > 20
