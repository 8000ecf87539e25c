"""CallableSource: anybody's own function, one look at a time."""

from dataclasses import dataclass
from functools import wraps
from types import SimpleNamespace
from typing import Any

import pytest
from pollers_kit import BAD, BUSY, paper_guard

from pollers import Sighting
from pollers._core.model import Phase
from pollers.sources import CallableSource
from resilience import FatalError, QuotaError, ResilienceError, RetriesExhausted

WORDS: dict[str, Any] = {"succeeded": ["done"], "failed": ["broken"], "pending": ["running"]}


async def look(source: CallableSource, *ids: str) -> dict[str, Sighting]:
    guard = source.guard.options(max_attempts=1, max_wait=0.0)
    return dict(await source.look(guard, lambda count: list(ids[:count])))


def single(answer: Any, **settings: Any) -> CallableSource:
    async def ask(_job_id: str) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return CallableSource(ask, guard=paper_guard(), **{**WORDS, **settings})


def batch(answers: Any, **settings: Any) -> CallableSource:
    async def ask(_ids: list[str]) -> Any:
        if isinstance(answers, BaseException):
            raise answers
        return answers

    return CallableSource(ask, guard=paper_guard(), **{**WORDS, "batch": 10, **settings})


@dataclass
class Answer:
    status: Any
    cause: Any = None


FORMS = [
    pytest.param("broken", None, id="text"),
    pytest.param("BROKEN", None, id="another-case"),
    pytest.param({"status": "broken", "cause": "why"}, "why", id="mapping"),
    pytest.param(Answer("broken", "why"), "why", id="object"),
    pytest.param(SimpleNamespace(status="broken", cause="null"), None, id="namespace-null"),
]


@pytest.mark.parametrize(("answer", "cause"), FORMS)
def test_an_answer_is_a_text_a_mapping_or_an_object(run: Any, answer: Any, cause: Any) -> None:
    """All three forms work, alone and in a batch."""
    for seen in (
        run(lambda: look(single(answer), "a")),
        run(lambda: look(batch({"a": answer}), "a")),
    ):
        assert (seen["a"].phase, seen["a"].cause) == (Phase.FAILED, cause)
        assert seen["a"].remote_id == "a"


def test_the_fields_have_the_names_that_were_given(run: Any) -> None:
    """`status=` and `cause=` name the fields."""
    answer = {"state": "broken", "error": "no disk", "status": 200}
    seen = run(lambda: look(single(answer, status="state", cause="error"), "a"))
    assert (seen["a"].status, seen["a"].cause) == ("broken", "no disk")


def test_none_is_not_there_yet(run: Any) -> None:
    """None, and an id that a batch leaves out, are missing."""
    assert run(lambda: look(single(None), "a")) == {}
    seen = run(lambda: look(batch({"a": None, "c": "done", "z": "done"}), "a", "b", "c"))
    assert set(seen) == {"c"}


def test_numbers_are_status_words_too(run: Any) -> None:
    """An API that says 2 for "done" is served as well, and 0 is not None."""
    seen = run(
        lambda: look(
            batch({"a": 2, "b": 0}, succeeded=["2"], failed=["3"], pending=["0"]), "a", "b"
        )
    )
    assert {k: (s.phase, s.known) for k, s in seen.items()} == {
        "a": (Phase.SUCCEEDED, True), "b": (Phase.PENDING, True),
    }  # fmt: skip


def test_a_batch_gets_a_list_of_at_most_its_size(run: Any) -> None:
    """`ask` is given the ids as a list, never more than `batch`; a single one gets a text."""
    got: list[Any] = []

    async def ask(given: Any) -> Any:
        got.append(given)
        return {}

    async def main() -> None:
        await look(CallableSource(ask, guard=paper_guard(), batch=2, **WORDS), "a", "b", "c")
        await look(CallableSource(ask, guard=paper_guard(), **WORDS), "a", "b")
        await look(CallableSource(ask, guard=paper_guard(), **WORDS))

    run(main)
    assert got == [["a", "b"], "a"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError("nobody"), RetriesExhausted),
        (TimeoutError(), RetriesExhausted),
        (ValueError("a bug"), FatalError),
    ],
)
def test_an_exception_is_the_guards_error(
    run: Any, error: Exception, kind: type[ResilienceError]
) -> None:
    """What the function raises is judged by the policy and chained."""
    for source in (single(error), batch(error)):

        async def main(source: CallableSource = source) -> None:
            with pytest.raises(kind) as caught:
                await look(source, "a")
            assert caught.value.__cause__ is error

        run(main)


def test_a_code_in_the_answer_is_the_guards_error(run: Any) -> None:
    """An envelope that the guard's policy knows is no status."""

    async def main() -> None:
        with pytest.raises(QuotaError):
            await look(single(BUSY), "a")
        with pytest.raises(FatalError):
            await look(batch(BAD), "a", "b")

    run(main)


def test_a_wrong_batch_size_is_refused() -> None:
    """At least one id per call."""
    with pytest.raises(ValueError, match=r"batch=0"):
        batch({}, batch=0)


def test_contradicting_words_are_refused() -> None:
    """As by StatusWords."""
    with pytest.raises(ValueError, match="both"):
        single("x", succeeded=["x"], failed=["X"])


def test_a_source_has_its_own_guard_by_default() -> None:
    """Made from the `http` catalog."""

    async def ask(_job_id: str) -> str:
        return "done"

    source = CallableSource(ask, **WORDS)
    assert (source.guard.policy.name, source.kind, source.provider) == ("http", "jobs", "custom")


def test_a_wrapper_is_async_if_what_it_wraps_is_or_if_it_is() -> None:
    """A decorator that puts a sync function into a thread, and one that only passes things on."""

    def blocking(_job_id: str) -> str:
        return "done"

    @wraps(blocking)
    async def threaded(job_id: str) -> str:
        return blocking(job_id)

    for ask in (threaded, wraps(threaded)(lambda job_id: threaded(job_id))):
        assert CallableSource(ask, **WORDS).kind == "jobs"
    with pytest.raises(TypeError, match="blocking is a sync function"):
        CallableSource(wraps(blocking)(lambda job_id: blocking(job_id)), **WORDS)


def test_a_search_is_an_async_function() -> None:
    """As what asks is; said when the source is made, not when the first reply is lost."""
    with pytest.raises(TypeError, match="is a sync function: a source asks with 'async def'"):
        single("x", find_submitted=lambda intent: [intent.token])
