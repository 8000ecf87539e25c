"""Status words and causes: what a provider's texts mean."""

from typing import Any

import pytest

from pollers._core.model import Phase
from pollers.sources import StatusWords
from pollers.sources.base import clean_cause
from pollers.sources.memories_ai import WORDS

# facts/memories_ai.md section 3.4: the union of what docs and clients know
VOCABULARY = {
    "UNPARSE": Phase.PENDING, "PENDING": Phase.PENDING, "PROCESSING": Phase.PENDING,
    "UPLOADING": Phase.PENDING, "PARSE": Phase.SUCCEEDED, "DONE": Phase.SUCCEEDED,
    "PARSE_ERROR": Phase.FAILED, "FAILED": Phase.FAILED, "FAIL": Phase.FAILED, "ERROR": Phase.FAILED,
}  # fmt: skip


@pytest.mark.parametrize("word", VOCABULARY)
@pytest.mark.parametrize("form", [str.upper, str.lower, str.title, str.swapcase, " {} ".format])
def test_every_word_of_the_docs_is_known_in_any_case(word: str, form: Any) -> None:
    """PARSE is parsed, all four words for failure end the job, case and space don't matter."""
    seen = WORDS.sighting("VI1", form(word))
    assert (seen.phase, seen.known) == (VOCABULARY[word], True)
    assert seen.status == form(word)  # the provider's own text is kept


@pytest.mark.parametrize("text", ["PARSING", "parse error", "", "0", "PARSED", "ÜNPARSE"])
def test_an_unknown_word_is_pending_and_marked(text: str) -> None:
    """What nobody told us the meaning of means "not finished", and can be reported."""
    seen = WORDS.sighting("VI1", text)
    assert (seen.phase, seen.known, seen.status) == (Phase.PENDING, False, text)


def test_no_word_at_all_is_pending_and_nothing_to_report() -> None:
    """A status of None says nothing."""
    seen = WORDS.sighting("VI1", None)
    assert (seen.phase, seen.known, seen.status) == (Phase.PENDING, True, None)


@pytest.mark.parametrize("status", [3, 3.0, True])
def test_statuses_that_are_not_text_compare_as_text(status: Any) -> None:
    """Numbers work as words."""
    words = StatusWords(pending=["1"], succeeded=[str(status)], failed=["9"])
    assert words.sighting("x", status).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("twice", [("Done", "dONE"), ("done", " done ")])
def test_a_word_in_two_lists_is_refused(twice: tuple[str, str]) -> None:
    """A contradiction is a ValueError that names the word and both meanings."""
    with pytest.raises(ValueError, match=r"both succeeded and failed") as caught:
        StatusWords(succeeded=[twice[0]], failed=[twice[1]])
    assert repr(twice[1]) in str(caught.value)


def test_a_word_may_stand_twice_in_one_list() -> None:
    """Repeating oneself is no contradiction."""
    assert StatusWords(succeeded=["done", "DONE"]).sighting("x", "Done").phase is Phase.SUCCEEDED


def test_a_text_instead_of_a_list_is_refused() -> None:
    """`failed="FAIL"` would mean F, A, I and L."""
    with pytest.raises(TypeError, match=r"failed='FAIL'"):
        StatusWords(failed="FAIL")


def test_words_may_come_from_a_generator() -> None:
    """Any iterable is read once."""
    assert StatusWords(failed=(w for w in ["bad"])).sighting("x", "BAD").phase is Phase.FAILED


@pytest.mark.parametrize("cause", [None, "", "  ", "null", "NULL", " Null ", "None", "undefined"])
def test_no_cause_in_any_spelling_is_none(cause: Any) -> None:
    """The docs of 2025 say "null" where there is no cause."""
    assert clean_cause(cause) is None


@pytest.mark.parametrize(
    ("cause", "text"),
    [("no video stream", "no video stream"), (" x ", "x"), (17, "17"), ("nullify", "nullify")],
)
def test_a_cause_is_kept_as_text(cause: Any, text: str) -> None:
    """What is really a reason stays, trimmed."""
    assert clean_cause(cause) == text
    assert WORDS.sighting("VI1", "FAIL", cause=cause).cause == text
