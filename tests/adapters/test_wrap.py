"""A wrapped client behaves as the client, and only its calls are guarded."""

import copy
import math
import pickle
import weakref

import anyio
import pytest
import trio
from trio.testing import MockClock
from wrap_kit import (
    BAD,
    BUSY,
    FAULT,
    OK,
    REFUSED,
    Client,
    Limits,
    Page,
    Videos,
    make_guard,
)  # fmt: skip

from resilience import FatalError, QuotaError, RetriesExhausted
from resilience.testing import Script, run_virtual


@pytest.fixture(params=["asyncio", "trio"])
def run(request):
    """Runs an async function in virtual time, on each loop."""
    if request.param == "asyncio":
        return run_virtual
    return lambda main: trio.run(main, clock=MockClock(autojump_threshold=0))


def wrapped(*steps, **settings):
    """A wrapped client that plays these steps, and the client."""
    client = Client(*steps)
    return make_guard().wrap(client, **settings), client


CALLS = [
    pytest.param(lambda c: c.get_metadata("v1"), id="method"),
    pytest.param(lambda c: c.videos.list_videos(page=2), id="nested"),
    pytest.param(lambda c: c.chat.completions.create("hi"), id="two-dots-and-lazy"),
    pytest.param(lambda c: c.videos_again.list_videos(), id="property"),
    pytest.param(lambda c: c.plain.search("q"), id="namespace"),
    pytest.param(lambda c: c.search("q"), id="sync-that-gives-a-coroutine"),
    pytest.param(lambda c: c.announced("q"), id="sync-that-says-so"),
    pytest.param(lambda c: c.decorated("w"), id="functools-wraps"),
    pytest.param(lambda c: c.static(c.script), id="staticmethod"),
    pytest.param(lambda c: c.of_class(c.script), id="classmethod"),
    pytest.param(lambda c: c.operation("w"), id="callable-object"),
    pytest.param(lambda c: c.partial(), id="partial"),
    pytest.param(lambda c: c.with_options("other").videos.list_videos(), id="with_options"),
    pytest.param(lambda c: c.videos.close("v1"), id="close-of-something"),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_kind_of_call_is_guarded(run, call):
    """Rejected twice, then fine: the caller sees the success, at the time that the policy says."""

    async def main():
        client, raw = wrapped(BUSY, BUSY, OK)
        assert await call(client) == OK
        assert raw.script.asked_at == [0.0, 1.0, 3.0]

    run(main)


@pytest.mark.parametrize("call", CALLS)
def test_every_kind_of_call_raises(run, call):
    """A fatal code becomes the error that ``guard.call`` raises."""

    async def main():
        client, raw = wrapped(BAD)
        with pytest.raises(FatalError) as caught:
            await call(client)
        assert (caught.value.code, raw.script.calls) == ("0003", 1)

    run(main)


def test_name_decides_about_the_endpoint(run):
    """As for ``guard.call``: an upload is not repeated, a list is, whatever the object below."""

    async def main():
        client, raw = wrapped(FAULT)
        with pytest.raises(RetriesExhausted) as caught:
            await client.videos.upload("film")
        assert (caught.value.endpoint, caught.value.reason) == ("upload", "not_repeatable")
        raw.script.steps = [FAULT, OK]
        raw.script.asked_at.clear()
        assert await client.videos.list_videos() == OK

    run(main)


def test_repeat_allows_it(run):
    """What the caller calls repeatable is repeated after an answer that leaves it open."""

    async def main():
        client, raw = wrapped(FAULT, OK, repeat=["*.upload"])
        assert await client.videos.upload("film") == OK
        assert raw.script.asked_at == [0.0, 0.4]

    run(main)


@pytest.mark.parametrize("name", ["get_metadata", "search"])
def test_spent_argument_is_not_sent_twice(run, tmp_path, name):
    """A file gives its content once, also through a method that is looked at first."""
    (tmp_path / "film").write_bytes(b"film")

    async def main():
        client, raw = wrapped(BUSY, OK)
        with (tmp_path / "film").open("rb") as film, pytest.raises(QuotaError) as caught:
            await getattr(client, name)(film)
        assert (caught.value.reason, raw.script.calls) == ("not_repeatable", 1)

    run(main)


def test_inner_adapter_and_double_wrap_make_one_attempt(run):
    """Wrapped twice, and calling itself through a guard: four attempts stay four."""

    async def main():
        guard, raw = make_guard(), Client(FAULT)
        client = guard.wrap(guard.wrap(raw), skip=["videos.upload"])
        for call in (client.videos.list_videos, client.chat.completions.create):
            raw.script.asked_at.clear()
            with pytest.raises(RetriesExhausted):
                await guard.options(idempotent=True).call(call, "x")
            assert raw.script.calls == 3  # by the rule of 0001

    run(main)


def test_wrapping_again_the_same_way_is_the_same():
    """The same guard and patterns give the same proxy."""
    guard, raw = make_guard(), Client()
    client = guard.wrap(raw, only=["videos.*"])
    assert guard.wrap(client, only=["videos.*"]) is client


def test_views_of_a_guard_wrap_too(run):
    """Options of the view hold for every call."""

    async def main():
        raw = Client(BAD)
        client = make_guard().options(on_failure="return").wrap(raw)
        assert await client.get_metadata("v1") == BAD

    run(main)


def test_closing_works_while_the_account_is_refused(run):
    """No door keeps anybody from leaving."""

    async def main():
        client, raw = wrapped(REFUSED)
        async with client as inner:
            assert inner is client
            for _ in range(2):
                with pytest.raises(FatalError):
                    await inner.get_metadata("v1")
        await client.aclose()
        assert (raw.script.calls, raw.closed) == (1, 2)

    run(main)


def test_cancelled_before_it_was_let_in_leaves_nothing_open(run):
    """A coroutine that the function gave and nobody may await any more is closed."""

    async def main():
        client, _ = wrapped(REFUSED)
        for _ in range(2):  # the second is refused before it is entered
            with pytest.raises(FatalError):
                await client.search("q")

    run(main)


# -- behaves as the client --------------------------------------------------------------------


def test_attributes():
    """Constants, data, classes and private names are the client's own."""
    client, raw = wrapped()
    assert client.base_url is raw.base_url
    assert client.limits is raw.limits
    assert client.limits.double() == 10
    assert client.Page is Page
    assert client._hidden is raw._hidden
    assert client.plain.answer == 42
    assert client.helper("word") == "WORD"
    assert client.name == "client"


def test_identity():
    """The client passes for what it is, and its resources are the same each time."""
    client, raw = wrapped()
    assert isinstance(client, Client)
    assert isinstance(client.videos, Videos)
    assert client.__class__ is Client
    assert repr(client) == "<guarded Client('client')>"
    assert client.videos is client.videos
    assert client.get_metadata == client.get_metadata
    assert len(client) == 7
    assert set(dir(raw)) == set(dir(client))
    assert client.__doc__ == raw.__doc__
    assert client.get_metadata.__doc__ == "The plainest method."
    assert weakref.ref(client)() is client
    with pytest.raises(AttributeError, match="nothing"):
        client.nothing  # noqa: B018
    with pytest.raises(TypeError):
        client["x"]
    assert {client: 1}[client] == 1


def test_setting_attributes(run):
    """What is set is set on the client, and what was replaced is looked at anew."""

    async def main():
        client, raw = wrapped()
        client.name = "other"
        assert raw.name == "other"
        client.videos = Videos(Script([BUSY, OK]))
        assert await client.videos.list_videos() == OK
        assert raw.videos.script.asked_at == [0.0, 1.0]
        raw.get_metadata = raw.videos.list_videos
        assert await client.get_metadata(3) == OK
        del client.name
        assert not hasattr(raw, "name")

    run(main)


def test_results_are_untouched(run):
    """What a call gives is not a proxy, though its class is of the client's package."""

    async def main():
        client, _ = wrapped()
        assert type(await client.page()) is Page
        async with client.opened() as script:
            assert type(script) is Script

    run(main)


def test_other_client_of_the_same_kind():
    """``with_options`` gives a guarded client; its class and settings are its own."""
    client, _ = wrapped(only=["videos.*"])
    other = client.with_options("other")
    assert repr(other) == "<guarded Client('other')>"
    assert isinstance(other, Client)


def test_a_copy_is_refused():
    """A proxy belongs to the guard of this process."""
    client, _ = wrapped()
    for make in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="belongs to its guard"):
            make(client)


def test_wrong_arguments_are_the_callers_mistake(run):
    """A TypeError comes as it is, at once."""

    async def main():
        client, raw = wrapped()
        for call in (client.get_metadata, client.partial, client.search, client.operation):
            with pytest.raises(TypeError, match="argument"):
                await call("a", "b", "c", nonsense=1)
        assert raw.script.calls == 0

    run(main)


@pytest.mark.parametrize(
    ("only", "looked"),
    [
        pytest.param(None, 0, id="no-pattern"),
        pytest.param(["videos.*", "get_*"], 0, id="found-without"),
        pytest.param(["chat.completions.*"], 1, id="the-one-that-is-named"),
        pytest.param(["*.create"], 2, id="all-if-need-be"),
    ],
)
def test_lazy_resources_are_not_made_for_nothing(only, looked):
    """Wrapping runs no property of the client, unless a pattern has to be found behind it."""
    _, raw = wrapped(only=only)
    assert raw.looked == looked


# -- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "guarded"),
    [
        pytest.param({"only": ["videos.*"]}, "VV", id="a-resource"),
        pytest.param({"only": ["get_metadata"]}, "M", id="a-method"),
        pytest.param({"only": ["*.create", "search"]}, "CS", id="any-depth"),
        pytest.param({"skip": ["videos.*"]}, "MSC", id="all-but-a-resource"),
        pytest.param({"only": ["*"], "skip": ["*.list_videos", "search"]}, "MC", id="both"),
        pytest.param({"only": ["[gs]*"]}, "MS", id="a-class-of-letters"),
    ],
)
def test_patterns(run, settings, guarded):
    """``only`` and ``skip`` are patterns of dotted names; what they leave out is untouched."""

    async def main():
        calls = {
            "M": lambda c: c.get_metadata("v"),
            "S": lambda c: c.search("q"),
            "V": lambda c: c.videos.list_videos(),
            "C": lambda c: c.chat.completions.create("t"),
        }
        for letter, call in calls.items():
            client, raw = wrapped(BUSY, OK, **settings)
            expected = OK if letter in guarded else BUSY
            assert await call(client) == expected, letter

    run(main)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(
            {"only": ["video.*"]}, r"only: 'video.\*' .* Client \(did you mean 'videos.\*'\?\)", id="resource"
        ),
        pytest.param(
            {"only": ["get_metdata"]}, r"did you mean 'get_metadata'", id="method"
        ),
        pytest.param({"skip": ["nothing"]}, r"skip: 'nothing' matches no method", id="skip"),
        pytest.param(
            {"only": ["videos.*"], "repeat": ["get_metadata"]},
            r"repeat: 'get_metadata' matches no guarded method", id="repeat-unguarded",
        ),
        pytest.param({"only": ["_request"]}, "matches no method", id="private"),
        pytest.param({"only": ["videos"]}, r"did you mean 'videos.\*'", id="resource-itself"),
        pytest.param({"only": ["base_url"]}, "matches no method", id="constant"),
    ],
)  # fmt: skip
def test_pattern_that_matches_nothing(settings, words):
    """A typing error must not leave a client unguarded."""
    with pytest.raises(ValueError, match=words):
        wrapped(**settings)


def test_patterns_are_a_list():
    """One text is a list of letters otherwise."""
    with pytest.raises(TypeError, match=r"only='videos.\*': give a list"):
        wrapped(only="videos.*")


class Sync:
    """A sync client."""

    def get(self):
        """A sync method."""
        return OK


class Empty:
    """No methods."""


async def function():
    """Not an object with methods."""


@pytest.mark.parametrize(
    ("thing", "settings", "words"),
    [
        pytest.param(Sync(), {}, r"methods are sync \(get …\); threads=True", id="sync-client"),
        pytest.param(Sync(), {"only": ["g*"]}, "threads=True", id="sync-by-wildcard"),
        pytest.param(Sync(), {"only": ["get"]}, "'get' is a sync method: threads=True", id="sync-by-name"),
        pytest.param(Client(), {"only": ["helper"]}, "'helper' is a sync method", id="sync-of-async"),
        pytest.param(Client, {}, "Client is a class: wrap an instance", id="class"),
        pytest.param(math, {}, "math is a module", id="module"),
        pytest.param(function, {}, r"function is a function: use guard\(func\)", id="function"),
        pytest.param(Client().get_metadata, {}, r"use guard\(func\)", id="bound-method"),
        pytest.param(Empty(), {}, "no public methods", id="empty"),
        pytest.param(Limits(), {}, "threads=True", id="data"),
        pytest.param(Client(), {"only": ["page"], "skip": ["page"]}, "skip leaves nothing", id="nothing-left"),
        pytest.param({"a": 1}, {}, "nothing to guard", id="dict"),
    ],
)  # fmt: skip
def test_nothing_to_wrap(thing, settings, words):
    """A guard that silently guards nothing is worse than none."""
    with pytest.raises(TypeError, match=words):
        make_guard().wrap(thing, **settings)


class OnDemand:
    """A client whose methods exist when they are asked for."""

    def __init__(self):
        self.script = Script([BUSY, OK])

    async def known(self):
        """So that there is one."""

    def __getattr__(self, name):
        if name != "invented":
            raise AttributeError(name)

        async def call():
            return await self.script()

        return call


def test_methods_made_on_demand(run):
    """They are guarded, and can be named."""

    async def main():
        raw = OnDemand()
        client = make_guard().wrap(raw, only=["invented"])
        assert await client.invented() == OK
        with pytest.raises(ValueError, match="invnted"):
            make_guard().wrap(raw, only=["invnted"])

    run(main)


def test_foreign_object_is_guarded_only_by_name(run):
    """A lock or an HTTP session of the client is its own business, unless it is asked for."""

    class Foreign(Client):
        def __init__(self):
            super().__init__()
            self.lock = anyio.Lock()

    async def main():
        raw = Foreign()
        assert make_guard().wrap(raw).lock is raw.lock
        client = make_guard().wrap(raw, only=["lock.acquire"])
        assert client.lock is not raw.lock
        await client.lock.acquire()
        assert raw.lock.locked()

    run(main)


def test_clients_of_one_kind_share_a_proxy_class():
    """A client made anew for each call (``with_options``) makes no class each time: those are slow garbage."""
    first, second = (make_guard().wrap(Videos(Script(OK))) for _ in range(2))
    assert type(first) is type(second)
