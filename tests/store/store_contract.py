"""The promises of ``pollers/store/base.py``, one function each, for any store that is open and empty."""

# ruff: noqa: D102, D103  # helpers say it by their names

import dataclasses
import inspect
from collections.abc import Awaitable, Callable

import anyio
import pytest
from msgspec.structs import replace
from store_words import (
    A1,
    A,
    B,
    cancelled,
    changed,
    ended,
    everything,
    expired,
    key,
    named,
    new,
    notice,
    submitting,
)

from pollers._core.model import Job, State
from pollers.store import Fenced, Store
from pollers.store.base import StoreError

Promise = Callable[[Store], Awaitable[None]]


async def begun(store: Store, *ids: str, shard=A) -> tuple[int, list[Job]]:
    """An epoch, and jobs that are watched."""
    epoch = await store.acquire(shard)
    return epoch, await store.register(shard, epoch, [new(name, shard) for name in ids])


class Contract:
    """Each function is a promise; a store that breaks one makes it fail."""

    async def an_empty_store_is_empty(self, store: Store) -> None:
        """Nothing is in it, and its numbers start at 0."""
        assert await store.head() == 0
        assert await store.events(0) == []
        assert await store.jobs() == []
        assert await store.load_active(A) == []
        assert await store.blobs(A) == {}
        assert await store.acked("hook") is None
        assert await store.parked() == []
        assert [await store.pruned(), await store.prune(1e12)] == [0, 0]
        assert await store.find(key()) is None
        assert await store.last_event(1) is None

    async def its_identity_stays(self, store: Store) -> None:
        """The uuid is 32 hex digits and the same whenever it is asked for."""
        first = store.uuid
        await begun(store, "VI1")
        assert (len(first), int(first, 16) > 0, store.uuid) == (32, True, first)

    async def closing_twice_is_harmless(self, store: Store) -> None:
        """So that a ``finally`` may close what a block has closed."""
        await store.aclose()
        await store.aclose()

    async def acquire_raises_the_epoch_by_one(self, store: Store) -> None:
        """Each shard has its own, and a bucket makes another shard."""
        assert [await store.acquire(A), await store.acquire(A)] == [1, 2]
        assert [await store.acquire(B), await store.acquire(A1), await store.acquire(A)] == [
            1,
            1,
            3,
        ]

    async def register_starts_a_job_with_its_event(self, store: Store) -> None:
        """The row is as it was given, at version 1, and a ``watching`` event tells of it."""
        epoch = await store.acquire(A)
        given = new(
            "VI1", at=7.5, deadline=90.0, submitted_at=6.25, data={"user": 7},
            features={"expect": 3, "settle": 0.5},
        )  # fmt: skip
        expected = Job(
            rid=1, version=1, key=key("VI1"), state=State.WATCHING, created_at=7.5, deadline=90.0,
            submitted_at=6.25, data={"user": 7}, features={"expect": 3, "settle": 0.5},
        )  # fmt: skip
        assert await store.register(A, epoch, [given]) == [expected]
        assert await store.jobs() == [expected]
        (event,) = await store.events(0)
        assert event == await store.last_event(1)
        assert (event.seq, event.rid, event.version, event.shard) == (1, 1, 1, A)
        assert (event.kind, event.subject) == ("videos", "VI1")
        assert (event.type, event.at, event.data["user_data"]) == ("watching", 7.5, {"user": 7})

    async def register_answers_in_the_order_it_was_asked(self, store: Store) -> None:
        """Known and new ones mixed."""
        epoch, _ = await begun(store, "VI2")
        answer = await store.register(A, epoch, [new("VI3"), new("VI2"), new("VI1")])
        assert [(job.key.remote_id, job.rid) for job in answer] == [
            ("VI3", 2), ("VI2", 1), ("VI1", 3),
        ]  # fmt: skip

    async def a_known_key_is_returned_as_it_is(self, store: Store) -> None:
        """Other data, times and deadlines change nothing, and no event is told."""
        epoch, (job,) = await begun(store, "VI1")
        await store.commit(A, epoch, [changed(job)])
        before = await everything(store)
        again = await store.register(A, epoch, [new("VI1", at=50.0, deadline=60.0, data="other")])
        assert again == [changed(job).after]
        assert await everything(store) == before

    async def an_ended_job_stays_ended(self, store: Store) -> None:
        """Without ``again`` its stored result is the answer."""
        epoch, (job,) = await begun(store, "VI1")
        await store.commit(A, epoch, [ended(job)])
        assert await store.register(A, epoch, [new("VI1")]) == [ended(job).after]
        assert await store.head() == 2

    async def again_starts_a_new_row_of_an_ended_job(self, store: Store) -> None:
        """With a rid of its own; the old row and its events stay."""
        epoch, (job,) = await begun(store, "VI1")
        await store.commit(A, epoch, [ended(job)])
        (second,) = await store.register(A, epoch, [new("VI1", at=9.0)], again=True)
        assert (second.rid, second.version, second.state) == (2, 1, State.WATCHING)
        assert await store.jobs() == [ended(job).after, second]
        assert await store.find(key("VI1")) == second
        assert [event.type for event in await store.events(0)] == [
            "watching", "succeeded", "watching",
        ]  # fmt: skip

    async def again_leaves_a_running_job_alone(self, store: Store) -> None:
        """``again`` is for what has ended."""
        epoch, jobs = await begun(store, "VI1")
        assert await store.register(A, epoch, [new("VI1", at=9.0)], again=True) == jobs
        assert await store.head() == 1

    async def a_key_given_twice_gives_one_row_twice(self, store: Store) -> None:
        """Also with ``again``, and also if the row is made by this very call."""
        epoch = await store.acquire(A)
        first, second = await store.register(A, epoch, [new("VI1"), new("VI1", at=2.0)])
        assert first == second
        await store.commit(A, epoch, [ended(first)])
        third, fourth = await store.register(A, epoch, [new("VI1"), new("VI1")], again=True)
        assert (third == fourth, third.rid, len(await store.jobs())) == (True, 2, 2)

    async def keys_differ_by_each_of_their_parts(self, store: Store) -> None:
        """The same remote id elsewhere is another job."""
        keys = [key("VI1"), key("VI2"), key("VI1", B), key("VI1", kind="scrapes")]
        keys += [
            replace(keys[0], provider="memos_cloud"),
            replace(keys[0], deployment="localhost"),
        ]
        rids = []
        for one in keys:
            epoch = await store.acquire(one.shard)
            (job,) = await store.register(one.shard, epoch, [replace(new(), key=one)])
            rids.append(job.rid)
        assert rids == [1, 2, 3, 4, 5, 6]
        assert [(await store.find(one)).rid for one in keys] == rids

    async def rids_are_never_used_again(self, store: Store) -> None:
        """Whatever ended or failed in between."""
        epoch, jobs = await begun(store, "VI1", "VI2")
        await store.commit(A, epoch, [ended(job) for job in jobs])
        with pytest.raises(Fenced):
            await store.register(A, epoch + 1, [new("VI3")])
        made = await store.register(A, epoch, [new("VI1"), new("VI3")], again=True)
        assert [job.rid for job in made] == [3, 4]

    async def an_older_epoch_is_fenced_off(self, store: Store) -> None:
        """Whoever acquired before somebody else did writes nothing."""
        epoch, (job,) = await begun(store, "VI1")
        await store.acquire(A)
        before = await everything(store)
        with pytest.raises(Fenced):
            await store.register(A, epoch, [new("VI2")])
        with pytest.raises(Fenced):
            await store.commit(A, epoch, [changed(job)], [notice()], {"learned": b"1"})
        assert await everything(store) == before

    async def an_epoch_nobody_was_given_is_fenced_off(self, store: Store) -> None:
        """One of the future, one of another shard, one of a shard that nobody acquired."""
        assert [await store.acquire(B), await store.acquire(B)] == [1, 2]
        for shard, epoch in [(A, 0), (A, 1), (B, 3), (B, 0), (A1, 0)]:
            with pytest.raises(Fenced):
                await store.register(shard, epoch, [])
            with pytest.raises(Fenced):
                await store.commit(shard, epoch, [])

    async def shards_do_not_fence_each_other(self, store: Store) -> None:
        """Acquiring one leaves the owners of the others alone."""
        epoch, (job,) = await begun(store, "VI1")
        await store.acquire(B)
        await store.acquire(A1)
        assert len(await store.commit(A, epoch, [changed(job)])) == 1

    async def a_commit_of_nothing_writes_nothing(self, store: Store) -> None:
        """No rows, no events."""
        epoch, _ = await begun(store, "VI1")
        before = await everything(store)
        assert await store.commit(A, epoch, []) == []
        assert await store.register(A, epoch, []) == []
        assert await everything(store) == before

    async def a_commit_writes_the_row_and_its_event(self, store: Store) -> None:
        """Every field of the row, and the event with the row's version."""
        epoch, (job,) = await begun(store, "VI1")
        after = replace(
            job, version=2, state=State.FAILED, status="PARSE_ERROR", cause="no codec",
            reason="why", ended_at=9.5, looks=12, submitted_at=0.5, deadline=99.0, created_at=1.5,
            data=[1, {"ü": None}], features={"size": 3, "duration": 1.25},
        )  # fmt: skip
        moved = replace(ended(job), after=after, type="failed", at=9.5, data={"cause": "no codec"})
        (event,) = await store.commit(A, epoch, [moved])
        assert await store.jobs() == [after]
        assert await store.last_event(job.rid) == event
        assert await store.events(1) == [event]
        assert (event.rid, event.version, event.shard, event.kind, event.subject) == (
            1, 2, A, "videos", "VI1",
        )  # fmt: skip
        assert (event.type, event.at, event.data) == ("failed", 9.5, {"cause": "no codec"})

    async def an_intent_is_registered_with_its_event(self, store: Store) -> None:
        """As any other row, but that it is being submitted; and it has not ended."""
        epoch = await store.acquire(A)
        (job,) = await store.register(A, epoch, [submitting("rp-1", data=7, deadline=9.0)])
        assert (job.state, job.version, job.key) == (State.SUBMITTING, 1, key("rp-1"))
        assert await store.jobs() == await store.load_active(A) == [job]
        assert await store.jobs(state=State.SUBMITTING) == [job]
        (event,) = await store.events(0)
        assert (event.type, event.subject, event.version) == ("submitting", "rp-1", 1)
        assert event.data["user_data"] == 7

    async def an_id_takes_the_place_of_a_token(self, store: Store) -> None:
        """In the commit that makes it watched; its later events have the id, its first one keeps the token."""
        epoch, (other,) = await begun(store, "VI0")
        (job,) = await store.register(A, epoch, [submitting("rp-1")])
        move = named(job, "VI1")
        (event,) = await store.commit(A, epoch, [move])
        assert await store.jobs() == await store.load_active(A) == [other, move.after]
        assert (await store.find(key("VI1")), await store.find(key("rp-1"))) == (move.after, None)
        assert (event.type, event.subject, event.version) == ("watching", "VI1", 2)
        assert [one.subject for one in await store.events(0)] == ["VI0", "rp-1", "VI1"]
        assert await store.register(A, epoch, [new("VI1")]) == [move.after]
        await store.commit(A, epoch, [ended(move.after)])
        assert (await store.last_event(job.rid)).subject == "VI1"
        (again,) = await store.register(A, epoch, [new("VI1")], again=True)
        assert (again.rid, (await store.find(key("VI1"))).rid) == (3, 3)

    async def an_id_is_given_with_all_of_a_commit_or_not(self, store: Store) -> None:
        """Beside something stale, or by somebody who is fenced off, the token stays."""
        epoch, (other,) = await begun(store, "VI0")
        (job,) = await store.register(A, epoch, [submitting("rp-1")])
        await store.commit(A, epoch, [changed(other)])
        before = await everything(store)
        with pytest.raises(StoreError):
            await store.commit(A, epoch, [named(job), changed(other)])
        await store.acquire(A)
        with pytest.raises(Fenced):
            await store.commit(A, epoch, [named(job)])
        assert await everything(store) == before
        assert (await store.find(key("rp-1")), await store.find(key("VI1"))) == (job, None)

    async def the_newest_row_of_a_key_is_the_last_registered(self, store: Store) -> None:
        """Not the one that got the id last."""
        epoch = await store.acquire(A)
        (job,) = await store.register(A, epoch, [submitting("rp-1")])
        (other,) = await store.register(A, epoch, [new("VI1")])
        await store.commit(A, epoch, [named(job, "VI1")])
        assert await store.find(key("VI1")) == other
        assert await store.find(key("rp-1")) is None

    async def a_commit_tells_in_the_order_it_was_given(self, store: Store) -> None:
        """Transitions as they came, whatever their rids, then notices; the answer is what is read."""
        epoch, (one, two, three) = await begun(store, "VI1", "VI2", "VI3")
        given = [changed(three), ended(one), changed(two)]
        rows = await store.commit(A, epoch, given, [notice("stalled"), notice("resumed")])
        assert [row.rid for row in rows] == [3, 1, 2, 0, 0]
        assert [row.type for row in rows[3:]] == ["stalled", "resumed"]
        assert [row.seq for row in rows] == sorted({row.seq for row in rows})
        assert await store.events(3) == rows

    async def two_steps_of_one_job_fit_into_one_commit(self, store: Store) -> None:
        """In their order; in the other they don't."""
        epoch, (job,) = await begun(store, "VI1")
        first = changed(job)
        second = ended(first.after)
        with pytest.raises(StoreError):
            await store.commit(A, epoch, [second, first])
        rows = await store.commit(A, epoch, [first, second])
        assert [row.version for row in rows] == [2, 3]
        assert await store.find(job.key) == second.after

    async def a_stale_transition_stops_the_whole_commit(self, store: Store) -> None:
        """What came before it, beside it and after it did not happen either."""
        epoch, (one, two, three) = await begun(store, "VI1", "VI2", "VI3")
        await store.commit(A, epoch, [changed(two)])
        before = await everything(store)
        with pytest.raises(StoreError):
            given = [changed(one), ended(two), changed(three)]
            await store.commit(A, epoch, given, [notice()], {"learned": b"1"})
        assert await everything(store) == before

    async def a_transition_happens_once(self, store: Store) -> None:
        """The same one again, in the same commit or a later one, is stale."""
        epoch, (job,) = await begun(store, "VI1")
        with pytest.raises(StoreError):
            await store.commit(A, epoch, [changed(job), changed(job)])
        await store.commit(A, epoch, [changed(job)])
        with pytest.raises(StoreError):
            await store.commit(A, epoch, [changed(job)])
        assert await store.head() == 2

    async def a_transition_of_no_row_is_stale(self, store: Store) -> None:
        """A row that was never registered, at any version, can't change."""
        epoch, (job,) = await begun(store, "VI1")
        for version in (0, 1, 2):
            with pytest.raises(StoreError):
                await store.commit(A, epoch, [ended(replace(job, rid=7, version=version))])
        assert await store.head() == 1

    async def a_transition_from_the_future_is_stale(self, store: Store) -> None:
        """A version is skipped by nobody."""
        epoch, (job,) = await begun(store, "VI1")
        with pytest.raises(StoreError):
            await store.commit(A, epoch, [ended(replace(job, version=2))])
        assert await store.jobs() == [job]

    async def notices_are_counted_per_shard(self, store: Store) -> None:
        """They have no row and no kind; their subject is the account."""
        epoch, _ = await begun(store, "VI1")
        other = await store.acquire(B)
        rows = [
            *await store.commit(A, epoch, [], [notice(at=1.0)]),
            *await store.commit(B, other, [], [notice(at=2.0), notice(at=3.0)]),
            *await store.commit(A, epoch, [], [notice("resumed", at=4.0)]),
        ]
        assert [(row.rid, row.version, row.shard, row.subject) for row in rows] == [
            (0, 1, A, "alice"), (0, 1, B, "bob"), (0, 2, B, "bob"), (0, 2, A, "alice"),
        ]  # fmt: skip
        assert {(row.kind, row.data["code"]) for row in rows} == {("", "0401")}
        assert await store.events(1) == rows
        assert await store.last_event(0) is None

    async def blobs_are_kept_by_name_and_shard(self, store: Store) -> None:
        """A name is replaced, the others stay."""
        epoch = await store.acquire(A)
        other = await store.acquire(A1)
        await store.commit(A, epoch, [], blobs={"times": b"1", "gates": b"\x00\xff"})
        await store.commit(A, epoch, [], blobs={"times": b"2"})
        await store.commit(A1, other, [], blobs={"times": b"3"})
        await store.commit(A, epoch, [])
        assert await store.blobs(A) == {"times": b"2", "gates": b"\x00\xff"}
        assert await store.blobs(A1) == {"times": b"3"}
        assert await store.blobs(B) == {}
        assert await store.head() == 0

    async def load_active_gives_what_has_not_ended(self, store: Store) -> None:
        """By rid, of this shard only; every way to end counts."""
        epoch, jobs = await begun(store, "VI3", "VI1", "VI2", "VI4", "VI5")
        await begun(store, "VI1", shard=B)
        uncertain = replace(changed(jobs[1]).after, state=State.UNCERTAIN)
        await store.commit(
            A, epoch,
            [
                cancelled(jobs[4]), ended(jobs[2]), expired(jobs[3]),
                replace(changed(jobs[1]), after=uncertain),
            ],
        )  # fmt: skip
        assert await store.load_active(A) == [jobs[0], uncertain]
        assert [job.rid for job in await store.load_active(B)] == [6]

    async def load_active_gives_pages(self, store: Store) -> None:
        """Behind a row, at most so many, and of one kind where it is said."""
        epoch, jobs = await begun(store, "VI1", "VI2", "VI3", "VI4")
        songs = [replace(new(name), key=key(name, kind="songs")) for name in ("VI1", "VI5")]
        first, last = await store.register(A, epoch, songs)
        await store.commit(A, epoch, [ended(jobs[1])])
        assert await store.load_active(A, limit=2) == [jobs[0], jobs[2]]
        assert await store.load_active(A, after=3, limit=2) == [jobs[3], first]
        assert await store.load_active(A, after=5) == [last]
        assert await store.load_active(A, after=6) == []
        assert await store.load_active(A, kind="songs") == [first, last]
        assert await store.load_active(A, kind="videos", after=1, limit=9) == [jobs[2], jobs[3]]
        assert await store.load_active(A, kind="films") == []

    async def rows_are_read_by_number(self, store: Store) -> None:
        """By rid, whatever became of them; numbers that nobody has are left out."""
        epoch, jobs = await begun(store, "VI1", "VI2", "VI3")
        await store.commit(A, epoch, [ended(jobs[1])])
        assert await store.rows([3, 99, 2, 3, 0]) == [ended(jobs[1]).after, jobs[2]]
        assert await store.rows([]) == []

    async def an_ended_job_is_not_active_whoever_has_to_be_told(self, store: Store) -> None:
        """Sinks are behind; the work is over all the same."""
        epoch, (one, two) = await begun(store, "VI1", "VI2")
        await store.ack("hook", 0)
        await store.commit(A, epoch, [ended(one)])
        assert await store.load_active(A) == [two]

    async def a_change_leaves_what_it_does_not_speak_of(self, store: Store) -> None:
        """Every column is that of the job after it."""
        epoch = await store.acquire(A)
        given = new(
            "VI1", at=7.5, deadline=90.0, submitted_at=6.25, data={"user": 7}, features={"size": 3}
        )
        (job,) = await store.register(A, epoch, [given])
        for make in (changed, changed, ended):
            moved = make(job)
            await store.commit(A, epoch, [moved])
            job = moved.after
            assert (await store.jobs(), await store.find(key("VI1"))) == ([job], job)
        assert (job.deadline, job.submitted_at, job.data) == (90.0, 6.25, {"user": 7})

    async def events_are_read_behind_a_number(self, store: Store) -> None:
        """Not including it, in order, at most so many; behind the end there is nothing."""
        await begun(store, "VI1", "VI2", "VI3")
        await begun(store, "VI1", shard=B)
        every = await store.events(0)
        seqs = [event.seq for event in every]
        assert (len(every), seqs, await store.head()) == (4, sorted(seqs), seqs[-1])
        assert await store.events(seqs[0]) == every[1:]
        assert await store.events(seqs[1], 1) == every[2:3]
        assert await store.events(-5, 2) == every[:2]
        assert await store.events(0, 0) == []
        assert await store.events(seqs[-1]) == await store.events(2**70) == []

    async def events_come_five_hundred_at_a_time(self, store: Store) -> None:
        """Unless asked otherwise."""
        await begun(store, *(f"VI{i}" for i in range(501)))
        assert len(await store.events(0)) == 500
        assert len(await store.events(500)) == 1

    async def the_last_event_is_the_newest(self, store: Store) -> None:
        """Of this job, whatever happened to others since."""
        epoch, (one, two) = await begun(store, "VI1", "VI2")
        await store.commit(A, epoch, [changed(one)])
        await store.commit(A, epoch, [ended(changed(one).after)])
        await store.commit(A, epoch, [changed(two)], [notice()])
        last = await store.last_event(one.rid)
        assert (last.type, last.version) == ("succeeded", 3)
        assert (await store.last_event(two.rid)).type == "changed"

    async def a_mark_never_goes_back(self, store: Store) -> None:
        """Each sink has its own."""
        for seq in (5, 3, 5):
            await store.ack("hook", seq)
            assert await store.acked("hook") == 5
        await store.ack("hook", 6)
        await store.ack("log", 0)
        assert [await store.acked(name) for name in ("hook", "log", "other")] == [6, 0, None]

    async def find_gives_the_newest_row(self, store: Store) -> None:
        """After any number of starts; None for a key that nobody registered."""
        epoch, (job,) = await begun(store, "VI1")
        for _ in range(3):
            await store.commit(A, epoch, [ended(job)])
            (job,) = await store.register(A, epoch, [new("VI1")], again=True)
        assert (await store.find(key("VI1"))).rid == 4
        assert await store.find(key("VI9")) is None

    async def jobs_are_chosen_by_shard_and_state(self, store: Store) -> None:
        """By rid, at most so many."""
        epoch, (one, two) = await begun(store, "VI2", "VI1")
        _, (three,) = await begun(store, "VI1", shard=B)
        await store.commit(A, epoch, [ended(one)])
        one = ended(one).after
        assert await store.jobs() == [one, two, three]
        assert await store.jobs(shard=A) == await store.jobs(limit=2) == [one, two]
        assert await store.jobs(state=State.WATCHING) == [two, three]
        assert await store.jobs(state=State.WATCHING, limit=1) == [two]
        assert await store.jobs(shard=A, state=State.SUCCEEDED) == [one]
        assert await store.jobs(shard=B, state=State.SUCCEEDED) == []
        assert await store.jobs(shard=dataclasses.replace(A, provider="other")) == []
        assert await store.jobs(limit=0) == []

    async def any_json_value_comes_back(self, store: Store) -> None:
        """Text of every script, numbers of every size, nothing and emptiness."""
        values = [
            None,
            True,
            0,
            -1,
            2**53,
            1e-9,
            0.1,
            "",
            "ünï\u0000\u2028🎬",
            [],
            {},
            [{"a": [None]}],
        ]
        epoch = await store.acquire(A)
        jobs = [new(f"VI{i}", data=value) for i, value in enumerate(values)]
        await store.register(A, epoch, jobs)
        assert [job.data for job in await store.jobs()] == values
        assert [event.data["user_data"] for event in await store.events(0)] == values

    async def any_text_may_be_an_id(self, store: Store) -> None:
        """Nothing in an id has a meaning to the store, and case counts."""
        ids = [
            "",
            "'",
            '"; DROP TABLE job; --',
            "VI%",
            "vi_",
            "VI_",
            "ü",
            "u\u0308",
            "\u0000",
            "1",
            "1.0",
        ]
        epoch, jobs = await begun(store, *ids)
        assert [job.rid for job in jobs] == list(range(1, len(ids) + 1))
        assert [(await store.find(key(name))).key.remote_id for name in ids] == ids
        assert [job.key.remote_id for job in await store.load_active(A)] == ids

    async def what_a_sink_could_not_take_is_parked(self, store: Store) -> None:
        """With its mark, by number and sink; parking again replaces the reason, unparking ends it."""
        epoch, (job, _) = await begun(store, "VI1", "VI2")
        await store.commit(A, epoch, [ended(job)])
        await store.ack("log", 3, {3: "too large"})
        await store.ack("hook", 3, {1: "HTTP 400", 3: "behind"})
        await store.ack("hook", 2, {3: "HTTP 422"})
        assert [(one.row.seq, one.sink, one.reason) for one in await store.parked()] == [
            (1, "hook", "HTTP 400"), (3, "hook", "HTTP 422"), (3, "log", "too large"),
        ]  # fmt: skip
        assert (await store.acked("hook"), await store.acked("log")) == (3, 3)
        events = await store.events(0)
        assert [one.row for one in await store.parked("hook")] == [events[0], events[2]]
        assert [one.row.line for one in await store.parked("hook")] == [1, 1]
        await store.unpark("hook", 3)
        await store.unpark("hook", 3)
        await store.unpark("other", 1)
        assert [one.sink for one in await store.parked()] == ["hook", "log"]
        assert await store.parked("other") == []

    async def an_old_job_is_pruned_as_a_whole(self, store: Store) -> None:
        """The row and all its events go; the numbers are not used again."""
        epoch, (one, two) = await begun(store, "VI1", "VI2")
        await store.commit(A, epoch, [changed(one)])
        await store.commit(A, epoch, [ended(changed(one).after, at=5.0)])
        assert await store.prune(5.0) == 0
        assert await store.prune(5.1) == 1
        assert [await store.prune(5.1), await store.pruned(), await store.head()] == [0, 4, 4]
        assert [event.rid for event in await store.events(0)] == [two.rid]
        assert await store.jobs() == await store.load_active(A) == [two]
        assert (await store.find(key("VI1")), await store.last_event(one.rid)) == (None, None)
        (again,) = await store.register(A, epoch, [new("VI1")])
        assert (again.rid, again.version, await store.head()) == (3, 1, 5)
        await everything(store)

    async def steps_of_one_commit_are_pruned_like_others(self, store: Store) -> None:
        """Several of one job, between those of another."""
        epoch, (one, two) = await begun(store, "VI1", "VI2")
        again = changed(changed(one).after, "PARSING").after
        await store.commit(
            A,
            epoch,
            [changed(one), changed(two), changed(changed(one).after, "PARSING"), ended(again)],
        )
        assert (await store.last_event(one.rid)).seq == 6
        assert [await store.prune(1e12), await store.pruned()] == [1, 6]
        assert [event.seq for event in await store.events(0)] == [2, 4]

    async def what_has_not_ended_is_never_pruned(self, store: Store) -> None:
        """However old it is."""
        epoch, (job,) = await begun(store, "VI1")
        await store.commit(A, epoch, [changed(job)])
        assert await store.prune(1e12) == 0
        assert (len(await store.events(0)), len(await store.jobs())) == (2, 1)

    async def what_a_sink_still_has_to_get_is_never_pruned(self, store: Store) -> None:
        """The slowest one counts, running or not; one event short is short."""
        epoch, (job, _) = await begun(store, "VI1", "VI2")
        await store.commit(A, epoch, [ended(job)], [notice()])
        await store.ack("hook", 4)
        await store.ack("log", 0)
        for seq in (0, 2):
            await store.ack("log", seq)
            assert await store.prune(1e12) == 0
        await store.ack("log", 3)
        assert (await store.prune(1e12), await store.pruned()) == (1, 3)
        await store.ack("log", 4)
        assert (await store.prune(1e12), await store.pruned()) == (1, 4)
        assert [event.seq for event in await store.events(0)] == [2]

    async def what_is_parked_is_never_pruned(self, store: Store) -> None:
        """Nor the rest of its job; once it is unparked it may go."""
        epoch, jobs = await begun(store, "VI1", "VI2")
        await store.commit(A, epoch, [ended(job) for job in jobs], [notice()])
        await store.ack("hook", 5, {2: "HTTP 400", 5: "HTTP 400"})
        assert await store.prune(1e12) == 1
        assert [event.seq for event in await store.events(0)] == [2, 4, 5]
        for seq in (2, 5):
            await store.unpark("hook", seq)
        assert [await store.prune(1e12), await store.events(0), await store.jobs()] == [2, [], []]

    async def pruning_goes_by_age_in_small_steps(self, store: Store) -> None:
        """At most so many jobs at once, those that ended first before the others; notices too."""
        epoch, jobs = await begun(store, "VI1", "VI2", "VI3", "VI4")
        await store.commit(
            A, epoch, [ended(job, at=10.0 - job.rid) for job in jobs], [notice(at=6.0)] * 3
        )  # fmt: skip
        assert await store.prune(8.5, 2) == 4
        assert [job.rid for job in await store.jobs()] == [1, 2]
        assert [await store.prune(8.5, 2), await store.prune(8.5, 2)] == [2, 0]
        assert [event.rid for event in await store.events(0)] == [1, 1]

    async def an_older_row_of_a_pruned_key_is_found_again(self, store: Store) -> None:
        """If it had to stay."""
        epoch, (job,) = await begun(store, "VI1")
        await store.commit(A, epoch, [ended(job)])
        (second,) = await store.register(A, epoch, [new("VI1")], again=True)
        await store.commit(A, epoch, [ended(second)])
        await store.ack("hook", 4, {1: "HTTP 400"})
        assert await store.prune(1e12) == 1
        assert (await store.find(key("VI1"))).rid == 1

    async def nothing_is_deleted_by_itself(self, store: Store) -> None:
        """What ended and was delivered is still there."""
        epoch, (job,) = await begun(store, "VI1")
        await store.commit(A, epoch, [ended(job)])
        await store.ack("hook", 2)
        await store.acquire(A)
        assert (len(await store.events(0)), len(await store.jobs())) == (2, 1)

    async def many_at_once_do_not_mix(self, store: Store) -> None:
        """Fifty tasks register the same three jobs and end their own: one row and event each."""
        epoch = await store.acquire(A)
        met: list[Job] = []

        async def one(number: int) -> None:
            mine, shared = await store.register(
                A, epoch, [new(f"own {number}"), new(f"VI{number % 3}")]
            )
            met.append(shared)
            await store.commit(A, epoch, [ended(mine)])

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(one, number)
        assert len({job.rid for job in met}) == len(set(met_keys(met))) == 3
        assert (len(await store.jobs()), await store.head()) == (53, 103)
        assert len(await store.load_active(A)) == 3
        await everything(store)

    async def of_many_who_end_a_job_one_succeeds(self, store: Store) -> None:
        """The others learn that their version is stale."""
        epoch, (job,) = await begun(store, "VI1")
        told: list[str] = []

        async def end() -> None:
            try:
                await store.commit(A, epoch, [ended(job)], [notice()])
            except StoreError:
                told.append("stale")
            else:
                told.append("done")

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(end)
        assert (told.count("done"), told.count("stale"), await store.head()) == (1, 19, 3)


def met_keys(jobs: list[Job]) -> list[str]:
    return [job.key.remote_id for job in jobs]


PROMISES: dict[str, Promise] = {
    name: promise
    for name, promise in inspect.getmembers(Contract(), inspect.iscoroutinefunction)
    if not name.startswith("_")
}
