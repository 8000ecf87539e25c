"""The calls of a wrapped client that are more than one await: streams, and sync methods in threads."""

import threading
import time
from types import SimpleNamespace

import anyio
import httpx
import pydantic
import pytest
import requests
import trio
from trio.testing import MockClock
from wrap_kit import BAD, BUSY, FAULT, OK, make_guard

from resilience import FatalError, Outcome, QuotaError, ResilienceError, RetriesExhausted
from resilience.adapters.results import outcome_of_exception, outcome_of_httpx
from resilience.adapters.witness import response_behind
from resilience.testing import run_virtual


@pytest.fixture(params=["asyncio", "trio"])
def run(request):
    """Runs an async function in virtual time, on each loop."""
    if request.param == "asyncio":
        return run_virtual
    return lambda main: trio.run(main, clock=MockClock(autojump_threshold=0))


# -- streams ----------------------------------------------------------------------------------


class Streams:
    """Plays lists of pieces, one list per opened stream; an exception among them is raised."""

    def __init__(self, *plays):
        self.plays = list(plays)
        self.opened_at = []
        self.closed_at = []

    async def chat(self, text="hi"):
        """An async generator."""
        self.opened_at.append(anyio.current_time())
        pieces = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        try:
            for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed_at.append(anyio.current_time())

    def sync_chat(self, text="hi"):
        """Sync, and gives an async generator."""
        return self.chat(text)

    async def other(self):
        """So that there is a method to await."""


def opened(seconds, zero):
    """Instants counted from the first."""
    return [round(at - zero, 6) for at in seconds]


STREAMS = [
    pytest.param("chat", id="generator"),
    pytest.param("sync_chat", id="given-by-a-function"),
]


@pytest.mark.parametrize("name", STREAMS)
def test_stream_is_delivered(run, name):
    """Every piece, in order, of one stream."""

    async def main():
        raw = Streams(["a", OK, "b"])
        client = make_guard().wrap(raw)
        assert [piece async for piece in getattr(client, name)("hi")] == ["a", OK, "b"]
        assert (len(raw.opened_at), len(raw.closed_at)) == (1, 1)

    run(main)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize(
    "first", [BUSY, ConnectionRefusedError()], ids=["a-code-as-first-piece", "an-exception"]
)
def test_error_before_the_first_piece_is_retried(run, name, first):
    """It is judged like a result; the failed stream is closed before the wait."""

    async def main():
        raw = Streams([first, "never"], ["a", "b"])
        client = make_guard().wrap(raw)
        assert [piece async for piece in getattr(client, name)()] == ["a", "b"]
        wait = 1.0 if first is BUSY else 0.5
        zero = raw.opened_at[0]
        assert opened(raw.opened_at, zero) == [0.0, wait]
        assert opened(raw.closed_at, zero) == [0.0, wait]

    run(main)


def test_a_stream_of_taught_pieces_is_closed_before_the_wait(run):
    """What ``read`` knows of a piece counts here, too: the failed stream is let go of at once."""

    async def main():
        failure = ("0429", "busy")
        raw = Streams([failure, "never"], ["a"])

        def read(piece):
            return BUSY if piece == failure else None

        client = make_guard(read=read).wrap(raw)
        assert [piece async for piece in client.chat()] == ["a"]
        zero = raw.opened_at[0]
        assert opened(raw.opened_at, zero) == [0.0, 1.0]
        assert opened(raw.closed_at, zero) == [0.0, 1.0]

    run(main)


def test_an_empty_stream_is_no_piece_to_read(run):
    """It is a success without items; ``read`` is asked about what the client gave, and nothing else."""

    async def main():
        client = make_guard(read=lambda piece: {"code": piece["code"]}).wrap(Streams([]))
        assert [piece async for piece in client.chat()] == []

    run(main)


def test_fatal_first_piece_is_raised(run):
    """Nothing is delivered, and the stream is closed."""

    async def main():
        raw = Streams([BAD, "never"])
        with pytest.raises(FatalError) as caught:
            async for _ in make_guard().wrap(raw).chat():
                pytest.fail("nothing may be delivered")
        assert (caught.value.code, len(raw.closed_at)) == ("0003", 1)

    run(main)


def test_nothing_is_repeated_after_the_first_piece(run):
    """An error in the middle comes as it is: the caller has seen half of the answer."""

    async def main():
        raw = Streams(["a", ConnectionResetError("gone")])
        got = []
        with pytest.raises(ConnectionResetError):
            async for piece in make_guard().wrap(raw, repeat=["chat"]).chat():
                got.append(piece)
        assert (got, len(raw.opened_at)) == (["a"], 1)
        late = Streams(["a", BUSY, "b"])
        assert [piece async for piece in make_guard().wrap(late).chat()] == ["a", BUSY, "b"]

    run(main)


def test_closing_a_stream_closes_the_inner_one(run):
    """``aclose()`` reaches the client's own generator at once."""

    async def main():
        raw = Streams(["a", "b", "c"])
        stream = make_guard().wrap(raw).chat()
        assert await anext(stream) == "a"
        assert raw.closed_at == []
        await stream.aclose()
        assert len(raw.closed_at) == 1
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    run(main)


def test_empty_stream_is_a_success(run):
    """No piece at all is no error."""

    async def main():
        raw = Streams([])
        assert [piece async for piece in make_guard().wrap(raw).chat()] == []
        assert len(raw.opened_at) == 1

    run(main)


def test_stream_that_nobody_reads_is_never_opened(run):
    """As with the client itself, calling it does nothing yet."""

    async def main():
        raw = Streams(["a"])
        await make_guard().wrap(raw).chat().aclose()
        assert raw.opened_at == []

    run(main)


# -- threads ----------------------------------------------------------------------------------


class Model(pydantic.BaseModel):
    """What a sync SDK expects of every body."""

    videos: list[str]


class Sync:
    """A sync SDK over httpx, with some of the ways in which such clients lose a code."""

    def __init__(self, *bodies, headers=None):
        self.bodies = list(bodies)
        self.headers = headers
        self.asked_at = []
        self.threads = set()
        self.release = threading.Event()
        self.done = threading.Event()
        transport = httpx.MockTransport(self._answer)
        self._http = httpx.Client(transport=transport, base_url="http://paper.test")

    def _answer(self, request):
        self.threads.add(threading.current_thread())
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        return httpx.Response(200, json=body, headers=self.headers)

    def search(self):
        """Gives the body."""
        return self._http.post("/serve/api/v1/search").json()

    def raw(self):
        """Gives the response."""
        return self._http.post("/serve/api/v1/search")

    def list_videos(self):
        """Validates the body as a success."""
        response = self._http.post("/serve/api/v1/list_videos")
        return Model(**response.json()["data"])

    def translated(self):
        """Raises an error of its own, from a helper that had the response."""
        try:
            self._checked()
        except LookupError as error:
            raise RuntimeError("request failed") from error

    def _checked(self):
        answer = self._http.post("/serve/api/v1/upload")
        raise LookupError(answer.json()["msg"])

    def forgetful(self):
        """Loses the response altogether."""
        body = self._http.post("/serve/api/v1/search").json()
        if body["code"] != "0000":
            raise RuntimeError("request failed")

    def slow(self):
        """Takes until it is released."""
        self.release.wait(5)
        self.done.set()
        return OK

    def items(self):
        """A sync generator."""
        yield 1

    def generated(self):
        """Gives a sync generator."""
        return self.items()

    def copy(self):
        """Another one of the kind."""
        return Sync(*self.bodies)

    async def modern(self):
        """An async method among sync ones."""
        self.threads.add(threading.current_thread())
        return self.bodies[0]

    def close(self):
        """Stays sync."""
        self._http.close()


DATA = {**OK, "data": {"videos": ["a"]}}


def play(bodies, story, **settings):
    """Run a story with a wrapped sync client, in virtual time."""

    async def main():
        raw = Sync(*bodies, headers=settings.pop("headers", None))
        try:
            await story(make_guard().wrap(raw, threads=True, **settings), raw)
        finally:
            raw.close()

    run_virtual(main)


def test_sync_methods_run_in_threads():
    """Each is a coroutine function now, its result untouched, and the loop is free meanwhile."""

    async def story(client, raw):
        assert await client.search() == DATA
        assert await client.list_videos() == Model(videos=["a"])
        assert threading.current_thread() not in raw.threads
        assert await client.modern() == DATA
        assert threading.current_thread() in raw.threads
        client.close()

    play([DATA], story)


def test_sync_methods_wait_in_virtual_time():
    """Rejected twice, then fine, at the policy's instants."""

    async def story(client, raw):
        start = anyio.current_time()
        assert await client.search() == DATA
        assert anyio.current_time() - start == 3.0

    play([BUSY, BUSY, DATA], story)


def test_virtual_time_stands_still_while_a_thread_works():
    """A timer of somebody else's does not fire early because our thread takes real time."""

    async def main():
        raw = Sync(OK)
        client = make_guard().wrap(raw, threads=True)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 50)
            threading.Timer(0.05, raw.release.set).start()
            assert await client.slow() == OK
            assert anyio.current_time() == 0.0
        assert anyio.current_time() == 50.0
        raw.close()

    run_virtual(main)


@pytest.mark.parametrize(
    ("name", "endpoint", "cause"),
    [
        pytest.param("search", "search", None, id="body"),
        pytest.param("raw", "other", None, id="response"),
        pytest.param("list_videos", "list", KeyError, id="error-in-the-parser"),
        pytest.param("translated", "upload", RuntimeError, id="error-of-its-own"),
    ],
)
def test_code_survives(name, endpoint, cause):
    """Whatever a sync SDK makes of an error body, the code and the words are known.

    The endpoint is known by the method's name, or by the request that an exception left behind.
    """

    async def story(client, raw):
        with pytest.raises(FatalError) as caught:
            await getattr(client, name)()
        error = caught.value
        assert (error.code, error.message) == (BAD["code"], BAD["msg"])
        assert error.endpoint == endpoint
        assert cause is None or type(error.__cause__) is cause

    play([BAD], story)


def test_hint_survives():
    """The headers of the response that an exception hid count."""

    async def story(client, raw):
        start = anyio.current_time()
        with pytest.raises(QuotaError):
            await make_guard().options(max_wait=8).wrap(raw, threads=True).list_videos()
        raw.bodies = [BUSY, DATA]
        await client.list_videos()
        assert anyio.current_time() - start == 9.0

    play([BUSY], story, headers={"Retry-After": "9"})


def test_code_that_is_gone_is_not_invented():
    """Where no frame holds a response any more, the exception is unknown, hence fatal, and the cause."""

    async def story(client, raw):
        with pytest.raises(FatalError) as caught:
            await client.forgetful()
        assert caught.value.code == "RuntimeError"
        assert isinstance(caught.value.__cause__, RuntimeError)

    play([BUSY], story)


def test_a_success_is_not_blamed_for_an_exception():
    """A bug after a good answer stays what it is."""

    async def story(client, raw):
        with pytest.raises(FatalError) as caught:
            await client.translated()
        assert caught.value.code == "RuntimeError"

    play([OK], story)


def test_uncertain_call_goes_by_the_path_below():
    """What the name does not tell, the request does: an upload is not repeated."""

    async def story(client, raw):
        with pytest.raises(RetriesExhausted) as caught:
            await client.translated()
        assert (caught.value.endpoint, caught.value.reason) == ("upload", "not_repeatable")

    play([FAULT], story)


class Nested:
    """A sync client with everything in a resource."""

    def __init__(self, sync):
        self.videos = sync


def test_sync_resources():
    """The methods of a nested resource run in threads too."""

    async def main():
        raw = Sync(BUSY, OK)
        client = make_guard().wrap(Nested(raw), only=["videos.search"], threads=True)
        assert await client.videos.search() == OK
        assert client.videos.raw().status_code == 200
        raw.close()

    run_virtual(main)


def test_wrong_arguments():
    """They are told at once, before a thread is taken."""

    async def story(client, raw):
        with pytest.raises(TypeError, match="too many positional arguments"):
            await client.search("x")
        assert raw.threads == set()

    play([OK], story)


@pytest.mark.parametrize("name", ["items", "generated"])
def test_sync_generator_is_refused(name):
    """Its items would block the loop: it says so, when it is called by way of a wildcard."""

    async def story(client, raw):
        with pytest.raises(TypeError, match=rf"{name}\(\) returned a generator.*skip=\['{name}'\]"):
            await getattr(client, name)()

    play([OK], story)


def test_sync_generator_by_name():
    """Named in ``only``, it is refused when it is wrapped."""
    with pytest.raises(TypeError, match="'items' is a sync generator"):
        make_guard().wrap(Sync(OK), only=["items"], threads=True)


def test_what_is_skipped_stays_sync():
    """Only what matches becomes a coroutine."""

    async def story(client, raw):
        assert client.search() == OK
        assert await client.raw()

    play([OK], story, skip=["search"])


def test_another_client_from_a_thread():
    """A client of the same kind is guarded too."""

    async def story(client, raw):
        other = await client.copy()
        assert repr(other).startswith("<guarded ")
        with pytest.raises(FatalError):
            await other.search()

    play([BAD], story)


def test_cancellation_does_not_wait_for_the_thread():
    """It passes at once; the thread ends when it ends, and its result is dropped."""

    async def main():
        raw = Sync(OK)
        guard = make_guard()
        client = guard.wrap(raw, threads=True)
        began = time.monotonic()
        with anyio.move_on_after(0.05) as scope:
            await client.slow()
        assert scope.cancelled_caught
        assert time.monotonic() - began < 2
        assert not raw.done.is_set()
        raw.release.set()
        assert await anyio.to_thread.run_sync(raw.done.wait, 5)
        assert guard._shared.machine.parked == 0
        raw.close()

    anyio.run(main)


def test_threads_on_trio():
    """The same on the other loop."""

    async def main():
        raw = Sync(BAD)
        with pytest.raises(FatalError):
            await make_guard().wrap(raw, threads=True).search()
        raw.close()

    trio.run(main)


class Odd:
    """A local variable that must not be asked anything."""

    @property
    def __dict__(self):
        raise RuntimeError("leave me alone")

    def __getattr__(self, name):
        raise RuntimeError("leave me alone")


def fails(*, unread):
    """A sync client's function with a response of requests, and odd things, in its frame."""
    answer = requests.Response()
    answer.status_code, answer.headers = 503, {"content-type": "application/json"}
    answer._content = False if unread else b"{}"
    odd, mock = Odd(), SimpleNamespace(status_code="200")
    raise LookupError(str(len([odd, mock])))


@pytest.mark.parametrize("unread", [False, True])
def test_response_in_a_frame(unread):
    """It is found among anything; one that was not read (a stream) says nothing."""
    with pytest.raises(LookupError) as caught:
        fails(unread=unread)
    found = response_behind(caught.value)
    assert found is None if unread else found.status_code == 503


def test_streamed_response_goes_by_its_status():
    """A response of requests whose body was not read is judged without it."""
    answer = requests.Response()
    answer.status_code, answer.headers = 200, {"content-type": "application/json"}
    assert outcome_of_httpx(answer).body is None


# -- what an exception carries ----------------------------------------------------------------


class Flat(pydantic.BaseModel):
    """A model of success with its fields beside the code."""

    code: str
    videos: list[str]


def refused(model, body, *, splat=False):
    """The error of a model that refuses a body."""
    with pytest.raises(pydantic.ValidationError) as caught:
        model(**body) if splat else model.model_validate(body)
    return caught.value


@pytest.mark.parametrize("splat", [False, True])
def test_model_that_misses_a_field_gives_the_body(run, splat):
    """An async SDK that validates before it looks at the code: pydantic keeps the body, so it counts."""

    async def main():
        guard = make_guard()

        async def list_videos():
            return Flat(**BUSY) if splat else Flat.model_validate(BUSY)

        with pytest.raises(ResilienceError) as caught:
            await guard.options(max_wait=1.5).call(list_videos)
        assert (caught.value.code, caught.value.message) == (BUSY["code"], BUSY["msg"])
        assert isinstance(caught.value.__cause__, pydantic.ValidationError)

    run(main)


def test_model_that_refuses_a_value_keeps_only_that():
    """A wrong value carries no body, and an exception that isn't pydantic's none either."""
    error = refused(Flat, {"code": "0429", "videos": None})
    assert outcome_of_exception(error) == Outcome(exception=error)
    nested = refused(Flat, {"code": "0429", "videos": [None]})
    assert outcome_of_exception(nested).body is None
