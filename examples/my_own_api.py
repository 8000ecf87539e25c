"""Guard and watch any API: a policy from a TOML file, a coroutine, and a table of status words.

Runs on trio as well as on asyncio.
"""

from pathlib import Path

import anyio

from pollers import JobEvent, Poller
from pollers.sources import CallableSource
from resilience import Guard, Policy

POLICY = Path(__file__).parent / "renderfarm.toml"


class RenderFarm:
    """Stands for your client: it answers everything with HTTP 200 and a body."""

    def __init__(self) -> None:
        self.asked = 0

    async def job(self, job_id: str) -> dict[str, object]:
        self.asked += 1
        if self.asked == 2:
            return {"error": {"id": "E_BUSY", "text": "try again in 0.2s"}}
        done = self.asked > 4
        return {"id": job_id, "state": "Complete" if done else "Rendering", "error": None}


async def main() -> JobEvent:
    farm = RenderFarm()
    guard = Guard(Policy.load(POLICY), account="studio")
    print(await guard.call(farm.job, "frame-1"))
    source = CallableSource(
        farm.job, guard=guard, status="state", succeeded=["complete"], failed=["crashed"],
        pending=["rendering"], provider="renderfarm", kind="frames",
    )  # fmt: skip
    async with Poller(source, min_interval=0.1) as poller:
        job = await poller.watch("frame-1", deadline=60)
        event = await job.result()
    print(type(event).__name__, event.status, f"{event.looks} looks")
    return event


if __name__ == "__main__":
    anyio.run(main, backend="asyncio")
