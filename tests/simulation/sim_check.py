"""What must be true at the end of every simulation, and how one seed is played."""

# ruff: noqa: D102, D103  # helpers say it by their names

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sim_order import run
from sim_provider import Answer
from sim_world import FINAL_GRACE, GRACE, Row, World

from pollers._core.model import EventRow, Job, State
from resilience.testing import EPOCH

SLACK = 60.0
"""Seconds that a look may be under way at a deadline: 30 for a quota, 30 for the answer."""

TRACED = 60

LIFE = "watching( changed)* (succeeded|failed|expired|cancelled)"
WATCHED = re.compile(LIFE)
ORDERED = re.compile(f"submitting( failed|( uncertain)?( cancelled| {LIFE})| uncertain)")


def play(seed: int, *, on_trio: bool = False, disk: Any = None) -> World:
    """One simulation, to its end.

    Raises:
        AssertionError: something was not as it must be; the message has the seed and what happened.
    """
    here = World(seed, disk)

    async def main() -> None:
        try:
            await here.live()
            await check(here)
        except BaseException as error:
            here.trace.blame(f"the simulation itself ended with {error!r}")
            raise
        finally:
            await here.disk.aclose()

    try:
        run(main, seed, on_trio=on_trio)
    except Exception as error:
        raise AssertionError(told(here)) from error
    if here.trace.wrong:
        raise AssertionError(told(here))
    return here


def told(here: World) -> str:
    lines = [" ".join(map(str, line)) for line in here.trace.lines]
    found = next((i for i, line in enumerate(lines) if " WRONG " in line), len(lines)) + 1
    return "\n".join(
        [
            f"seed {here.seed}:", *here.trace.wrong[:10], "what came before:",
            *lines[max(0, found - TRACED) : found],
        ]
    )  # fmt: skip


async def check(here: World) -> None:
    jobs = {job.rid: job for job in await here.disk.jobs()}
    lines: dict[Any, list[EventRow]] = defaultdict(list)
    for row in here.events:
        lines[row.line].append(row)
    blame = here.trace.blame
    if sorted({row.name for row in here.rows.values()}) != sorted(here.homes):
        blame(f"of {sorted(here.homes)} there are {here.rows}")
    if [row.seq for row in here.events] != list(range(1, len(here.events) + 1)):
        blame("the numbers of the events have gaps")
    for line, mine in lines.items():
        if [row.version for row in mine] != list(range(1, len(mine) + 1)):
            blame(f"the events of {line} are {mine}")
    for rid, row in here.rows.items():
        mine = lines[rid]
        kinds = " ".join(one.type for one in mine)
        if not (ORDERED if row.name in here.orders else WATCHED).fullmatch(kinds):
            blame(f"the life of row {rid} is {kinds}")
        elif {one.data["user_data"] for one in mine} != {row.name}:
            blame(f"row {rid} has lost its data: {mine}")
        elif rid in jobs:
            if row.name in here.orders:
                check_order(here, row, jobs[rid], mine)
            if "watching" in kinds:
                check_job(here, row, jobs[rid], mine)
        elif here.keep is None:
            blame(f"row {rid} is gone, and keep=None")
    if not await here.all_are_told():
        blame("an event reached nobody, and is not parked")


def check_job(here: World, row: Row, job: Job, mine: Sequence[EventRow]) -> None:
    """It ended as the provider told us, not before it might, and not long after it should."""
    blame = here.trace.blame
    if (job.version, job.state.value) != (len(mine), mine[-1].type):
        blame(f"{job} does not go with {mine}")
    answers = [
        one
        for one in here.provider.answers[row.remote_id]
        if one.by is row.ender and row.number < one.number and one.told <= row.ended
    ]
    due = due_at(here, row, job)
    match job.state:
        case State.SUCCEEDED | State.FAILED:
            word = "done" if job.state is State.SUCCEEDED else "broken"
            if not any(one.status == word for one in answers):
                blame(f"{row.name} ends as {word}, which nobody said")
        case State.CANCELLED:
            if row.name not in here.unwatched:
                blame(f"{row.name} is cancelled, and nobody wished it")
        case State.EXPIRED if job.reason == "missing":
            check_missing(here, row, job, answers)
        case _:
            check_expired(here, row, job, answers, due)
    asleep = sum(seconds for _, seconds in here.naps)
    late = asleep + max(due[1], row.ender.opened if row.ender else 0.0) + FINAL_GRACE + SLACK
    if job.cause is not None and job.state is State.EXPIRED:
        late += FINAL_GRACE  # looks have failed for so long, from the first one that came after it was due
    # a look that a quota rejected goes once more, behind the others that are under way
    late += (here.provider.at_once - 1) * here.provider.spacing
    if row.ended > late + 60.0 * here.write_seconds:
        blame(f"{row.name} should have ended by {late}")


def check_order(here: World, row: Row, job: Job, mine: Sequence[EventRow]) -> None:
    """It has the id that a reply, a search or a person told; or somebody has to look, and should."""
    orders, blame, token = here.submitted, here.trace.blame, mine[0].subject
    made, remote_id = orders.made[token], job.key.remote_id
    if remote_id != token:
        found = {
            one.found[0] for one in orders.searches[token]
            if len(one.found) == 1 and one.number < row.number
        }  # fmt: skip
        known = {orders.replied.get(token), here.settled.get(token), *found}
        if remote_id not in known or remote_id not in made:
            blame(f"{row.name} is {remote_id}, which nobody said of {token}: {made}")
    elif job.state is State.FAILED and made:
        blame(f"{row.name} was refused, and there is {made}")
    elif job.state is State.CANCELLED and row.name not in here.unwatched:
        blame(f"{row.name} is cancelled, and nobody wished it")
    elif job.state not in (State.FAILED, State.CANCELLED, State.UNCERTAIN):
        blame(f"{row.name} is {job.state}, and has no id")
    if any(one.type == "uncertain" for one in mine):
        check_uncertain(here, token, next(one for one in mine if one.type == "uncertain"))


def check_uncertain(here: World, token: str, event: EventRow) -> None:
    """Nobody could have told: not by any search of the process that gave it up, nor by one later on."""
    orders, blame = here.submitted, here.trace.blame
    process, number = here.doubted[token]
    told = [
        one for one in orders.searches[token] if one.by is process and one.number < number
    ]  # fmt: skip
    caller, until = orders.called.get(token, (None, 0.0))
    lost_at = until if caller is process else process.began
    match event.data["reason"]:
        case "no_search" if not here.searches and not told:
            return
        case "several" if told and len(told[-1].found) > 1:
            return
        case "none" if told and not any(one.found for one in told):
            if told[-1].asked >= lost_at + GRACE - 0.001:
                return
    blame(f"{token} is uncertain ({event.data['reason']}), lost at {lost_at}: {told}")


def due_at(here: World, row: Row, job: Job) -> tuple[float, float]:
    """When its deadline was, on the loop's clock, for the process that ended it: not before, not after.

    A calendar instant is anchored when a process takes the job up, and the wall clock may jump then.
    """
    if job.deadline is None or row.ender is None:
        return math.inf, math.inf
    ender = row.ender
    first = row.at - 2.0 if ender is row.began else ender.began
    last = row.at + 2.0 if ender is row.began else ender.opened
    jumps = [first, last, *(when for when, _ in here.jumps if first <= when <= last)]
    offsets = [here.offset(at) for at in jumps]
    plain = job.deadline - EPOCH
    return plain - max(offsets), plain - min(offsets)


def check_expired(
    here: World, row: Row, job: Job, answers: Sequence[Answer], due: tuple[float, float]
) -> None:
    """A job expires after a look at or after its deadline, or the final grace if none is possible."""
    blame = here.trace.blame
    after = [one for one in answers if one.asked >= due[0] - 0.001]
    if any(one.status in ("done", "broken") for one in answers):
        blame(f"{row.name} expires, and we were told its end: {answers}")
    if row.ended < due[0] - 0.001:
        blame(f"{row.name} expires at {row.ended}, before its deadline at {due}")
    elif not after and row.ended < due[0] + FINAL_GRACE - 0.001:
        blame(f"{row.name} expires at {row.ended} without a look since {due}: {answers[-2:]}")


def check_missing(here: World, row: Row, job: Job, answers: Sequence[Answer]) -> None:
    """It was in no answer for the whole grace, since it was first watched or last seen."""
    seen = [one.told for one in answers if one.status is not None]
    told = [one.told for one in answers if one.status is None]
    began = job.created_at - EPOCH - here.offset(row.at)
    if began > row.ended and row.ender is not None:  # by a clock that was set back since
        began = row.ender.began
    span = row.ended - max(seen, default=began)
    if not seen and job.ended_at is not None:
        span = max(span, job.ended_at - job.created_at)  # by the calendar, which may have jumped
    if not told or (told[-1] < max(seen, default=0.0)) or span < GRACE - 0.001:
        here.trace.blame(f"{row.name} counts as missing at {row.ended}: {answers[-3:]}")
