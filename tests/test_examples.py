"""Every example is run, and does what it says."""

import subprocess
import sys

import anyio
import pytest
from examples_kit import EXAMPLES, load


def test_every_example_is_in_this_file():
    """No example is left out; those of frameworks are run in ``test_examples_frameworks``."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "aiohttp_app",
        "callbacks_app",
        "fastapi_app",
        "guard_a_session",
        "healthz",
        "my_own_api",
        "notebook_cell",
        "plain_script",
        "provider",
        "remember_and_search",
        "scrape_posts",
        "starlette_app",
        "submit_and_watch",
        "trio_httpx",
        "watch_videos",
    }


async def test_guard_a_session_counts_all_pages():
    """The first page has all three videos; every other page is reached, whatever was rejected."""
    assert await load("guard_a_session").on_this_machine() == 3


async def test_watch_videos_sees_both_ends():
    """One video is parsed, the other can't be."""
    ends = await load("watch_videos").on_this_machine()
    assert [type(event).__name__ for event in ends] == ["JobSucceeded", "JobFailed"]


async def test_callbacks_app_loses_no_end():
    """Real callbacks over HTTP, about half of them lost: those that came were taken, all ends found."""
    ends, emulator = await load("callbacks_app").on_this_machine()
    assert [type(event).__name__ for event in ends] == ["JobSucceeded"] * 8
    assert {called.status for called in emulator.callbacks if not called.lost} == {200}
    assert 1 <= sum(called.lost for called in emulator.callbacks) <= 7


async def test_submit_and_watch_uploads_each_file_once():
    """One reply is lost; there are two videos in the end, and both are parsed."""
    ends, videos = await load("submit_and_watch").on_this_machine()
    assert [event.user_data["file"] for event in ends] == ["cat.mp4", "dog.mp4"]
    assert ([type(event).__name__ for event in ends], videos) == (["JobSucceeded"] * 2, 2)


async def test_remember_and_search_finds_what_was_added():
    """Messages are added though the API is unavailable at first, processed, and found."""
    assert await load("remember_and_search").on_this_machine() == ["I like black cats"]


async def test_scrape_posts_tells_of_each_video():
    """Two posts are two children of one task, and both are parsed."""
    event = await load("scrape_posts").on_this_machine()
    assert (type(event).__name__, event.status) == ("JobSucceeded", "2 of 2 parsed")
    assert [child.state for child in event.children] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_my_own_api_runs_on_both_backends(backend):
    """A policy file, a coroutine and a table of words are enough."""
    event = anyio.run(load("my_own_api").main, backend=backend)
    assert type(event).__name__ == "JobSucceeded"


@pytest.mark.slow
def test_an_example_runs_as_a_program():
    """As the docstring says: run it."""
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "watch_videos.py"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "can't be parsed: unknown codec" in ran.stdout
