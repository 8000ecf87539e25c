"""All kinds of both providers in one poller and one store, against both emulators at once."""

from typing import Any

from memos_world import memos
from pollers_kit import make_poller, results, since_epoch, stored, world

from pollers.emulator import Fault
from pollers.sources import MemoriesScrapes
from pollers.store import MemoryStore
from resilience.testing import run_virtual


def test_four_kinds_of_two_providers_share_a_poller() -> None:
    """Each job ends once and on time; two shards, documented limits kept; faults part neither."""

    async def main() -> Any:
        async with world(limits={}) as videos, memos(limits={}) as memory:
            key = {"api_key": "sk-test", "base_url": videos.emulator.base_url}
            scrapes = MemoriesScrapes(videos.session, **key, guard=videos.guard)
            videos.emulator.add_video("J1", parse_after=2.0)
            videos.emulator.add_scrape("J1", videos=[{"video_no": "VI1", "parse_after": 3.0}])
            memory.emulator.add_task("J1", ends_after=1.0)
            memory.emulator.add_file("J1", ends_after=1.5, outcome="failed")
            videos.emulator.fail("list", Fault(code="0429"))
            memory.emulator.fail("get_status", Fault(code=50004))
            store = MemoryStore()
            every = videos.source(guard=videos.guard), scrapes, memory.tasks(), memory.files()
            async with make_poller(*every, store=store) as poller:
                jobs = [
                    await poller.watch("J1", kind="videos"),
                    await poller.watch("J1", kind="scrapes", expect=1),
                    await poller.watch("J1", kind="tasks"),
                    await poller.watch("J1", kind="files"),
                ]
                ends = await results(jobs)
                shards = {str(job.key.shard) for job in await poller.jobs()}
            codes = [seen.code for here in (videos, memory) for seen in here.emulator.requests]
            return ends, len(shards), codes, len(await stored(store))

    ends, shards, codes, told = run_virtual(main)
    assert [(type(end).__name__, end.to_cloudevent()["source"]) for end in ends] == [
        ("JobSucceeded", "/memories_ai/default/videos"),
        ("JobSucceeded", "/memories_ai/default/scrapes"),
        ("JobSucceeded", "/memos_cloud/default/tasks"),
        ("JobFailed", "/memos_cloud/default/files"),
    ]
    assert [child.id for child in ends[1].children] == ["VI1"]
    assert all(since_epoch(end) < 8.0 for end in ends)
    assert shards == 2
    assert sorted(code for code in codes if code not in {"0000", "0"}) == ["0429", "50004"]
    assert told >= 8
