"""A job that is made of others, as a scraper task is of its videos: when it is whole, how it ends.

Two questions are decided here, and asked of nobody else:

* **Is the set of its children whole?**  The provider lists those that there are so far, and never
  says how many are to come.  So it is whole when ``expect`` of them are known, or when a set that is
  not empty hasn't changed for ``settle`` seconds.  That span is measured from the *arrival* of the
  first answer with this set to the *sending* of the last request that was answered with it: shorter
  than the truth, never longer.  It is measured by whoever looks, and not over a restart: nobody saw
  what happened meanwhile, so a new process takes up to ``settle`` seconds more (and one that is
  killed more often than that never gets there, unless ``expect`` was said).
* **What do they add up to?**  While it isn't whole or a child is pending, the job is pending.  Else
  it succeeded if one of them did, and failed if all have.  A child that no answer has had for
  ``grace`` seconds isn't waited for; if nothing else came of the job, it is missing, as they are.

Instants are loop time, spans seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pollers._core.model import Phase, Sighting

_CAUSES = 3
"""Different causes of failed children that the job's cause repeats."""

_FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED})


@dataclass(slots=True, kw_only=True)
class Family:
    """What is known about the children of one job; changed by the functions of this module only."""

    rid: int = 0
    """The row of the job: one that is watched again has another."""
    ids: tuple[str, ...] = ()
    since: float = 0.0
    """When the first answer with this set arrived."""
    until: float = 0.0
    """When the last request was sent that was answered with this set."""
    seen: dict[str, Sighting] = field(default_factory=dict)
    """What was last found out about each child."""
    absent: dict[str, float] = field(default_factory=dict)
    """Since when the place where children are looked up doesn't have this one."""


def listed(family: Family, ids: Iterable[str], *, asked: float, now: float) -> None:
    """Take in an answer to "which children?"."""
    ids = tuple(dict.fromkeys(ids))
    if set(ids) != set(family.ids):
        family.since = family.until = now
        family.seen = {one: seen for one, seen in family.seen.items() if one in ids}
        family.absent = {one: since for one, since in family.absent.items() if one in ids}
    family.ids = ids
    family.until = max(family.until, asked)


def found(
    family: Family, looked_up: Mapping[str, Sighting], said: Mapping[str, Sighting], *, now: float
) -> None:
    """Take in how the children are doing.

    Args:
        family: whose children.
        looked_up: what the place where children are looked up has; the truth where it has one.
        said: what the answer to "which children?" told about them besides.
        now: the instant of the answer.
    """
    for one in still_open(family):
        if one in looked_up:
            family.absent.pop(one, None)
            family.seen[one] = looked_up[one]
            continue
        family.absent.setdefault(one, now)
        family.seen[one] = said.get(one) or Sighting(remote_id=one, phase=Phase.MISSING)


def still_open(family: Family) -> list[str]:
    """The children that have neither succeeded nor failed."""
    return [one for one in family.ids if _seen(family, one).phase not in _FINAL]


def is_whole(family: Family, *, expect: int | None, settle: float) -> bool:
    """Whether no more children are to come."""
    if expect is not None and len(family.ids) >= expect:
        return True
    return bool(family.ids) and family.until - family.since >= settle


def fold(
    remote_id: str,
    family: Family,
    *,
    word: str,
    expect: int | None,
    settle: float,
    now: float,
    grace: float,
) -> Sighting:
    """What the children say about their job.

    The status text counts those that ended, so that each look that finds one is a change, and one
    that finds none is not: ``"3 of 5 parsed, 1 failed"`` with ``word="parsed"``.
    """
    whole = is_whole(family, expect=expect, settle=settle)
    children = tuple(_seen(family, one) for one in family.ids)
    good = sum(one.phase is Phase.SUCCEEDED for one in children)
    bad = sum(one.phase is Phase.FAILED for one in children)
    gone = sum(
        one.phase is Phase.MISSING and now - family.absent.get(one.remote_id, now) >= grace
        for one in children
    )
    text = f"{good} of {max(len(children), expect or 0)} {word}"
    text += f", {bad} failed" if bad else ""
    text += f", {gone} missing" if gone else ""
    text += "" if whole or expect is not None else ", more may come"
    phase, cause = Phase.PENDING, None
    if whole and good + bad + gone == len(children):
        phase = Phase.SUCCEEDED if good else Phase.MISSING if gone else Phase.FAILED
    if phase is Phase.FAILED:
        cause = _causes(children)
    return Sighting(remote_id=remote_id, phase=phase, status=text, cause=cause, children=children)


def _seen(family: Family, one: str) -> Sighting:
    return family.seen.get(one) or Sighting(remote_id=one, phase=Phase.MISSING)


def _causes(children: Iterable[Sighting]) -> str | None:
    causes = list(dict.fromkeys(one.cause for one in children if one.cause))
    more = f"; and {len(causes) - _CAUSES} more" if len(causes) > _CAUSES else ""
    return "; ".join(causes[:_CAUSES]) + more if causes else None
