"""The same on trio: real sockets, virtual time, and cancellation at every await."""

from functools import partial

import pytest
import trio
from adapter_kit import make_guard
from stream_kit import assert_all_idle, library_of
from trio.testing import MockClock

from resilience import FatalError, raise_for_code, report

# httpx leaves its own generators of a stream that is closed early to the collector, with or without us
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'httpcore:ResourceWarning")

LIST = "/serve/api/v1/list_videos"
CHAT = "/serve/api/v1/chat_stream"
OK = b'{"code":"0000","msg":"ok","data":{"videos":[]}}'
BUSY = b'{"code":"0429","msg":"busy"}'
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
JSON = {"Content-Type": "application/json"}
PATIENCE = 0.01
"""Real seconds without any news after which virtual time jumps."""


@pytest.fixture(params=["httpx", "httpx2"])
def library(request):
    """httpx and its successor."""
    return library_of(request.param)


def answer(body, *, cut=0):
    """The bytes of a JSON answer."""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body[: len(body) - cut]


class Server:
    """Plays scripts one after the other, one per request: bytes are sent, numbers slept."""

    def __init__(self, scripts):
        self.scripts = list(scripts)
        self.asked_at = []

    async def serve(self, stream):
        """One connection."""
        try:
            while await self._request(stream):
                self.asked_at.append(round(trio.current_time() - self.zero, 2))
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                for step in script:
                    await (stream.send_all(step) if isinstance(step, bytes) else trio.sleep(step))
                if b"Connection: close" in script[0]:
                    break  # its end is the end of the connection
            await stream.aclose()
        except trio.BrokenResourceError:
            pass

    async def _request(self, stream):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = await stream.receive_some(1)
            if not piece:
                return False
            head += piece
        return True

    def now(self):
        """Virtual seconds since the server began."""
        return round(trio.current_time() - self.zero, 2)


def play(library, scripts, story, **options):
    """Tell a story on trio with a client of one connection."""

    async def main():
        server = Server(scripts)
        server.zero = trio.current_time()
        guard = make_guard().options(**options)
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
            )
            base = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            inner = library.AsyncHTTPTransport(limits=library.Limits(max_connections=1))
            client = library.AsyncClient(transport=inner, timeout=None, base_url=base)
            async with guard.install(client, hosts=["127.0.0.1"]):
                with trio.fail_after(20_000):
                    await story(client, server)
                assert_all_idle(inner)
            nursery.cancel_scope.cancel()
        assert guard._shared.machine.parked == 0
        assert guard._shared.active == 0

    trio.run(main, clock=MockClock(autojump_threshold=PATIENCE))


def test_rejected_twice_then_fine(library):
    """A JSON code is seen, waited for and retried, over one connection."""

    async def story(client, server):
        response = await client.get(LIST)
        assert response.json()["code"] == "0000"
        assert report(response).attempts == 3
        assert server.asked_at == [0.0, 1.0, 3.0]

    play(library, [[answer(BUSY)], [answer(BUSY)], [answer(OK)]], story)


def test_broken_body_is_retried(library):
    """A connection that breaks in the body is a failed attempt."""

    async def story(client, server):
        assert (await client.get(LIST)).json()["code"] == "0000"

    play(
        library,
        [[EVENTS.replace(b"text/event-stream", b"application/json"), b'{"code":'], [answer(OK)]],
        story,
    )


def test_error_as_first_event(library):
    """An error in the first event of a stream is retried, a final one is known to the report."""

    async def story(client, server):
        async with client.stream("GET", CHAT) as response:
            with pytest.raises(FatalError, match="0003"):
                raise_for_code(response)
            assert await response.aread() == b'data: {"code":"0003","msg":"no"}\n\n'
        assert len(server.asked_at) == 2

    play(
        library,
        [
            [EVENTS, b": ping\n\n", 1.0, b"data: " + BUSY + b"\n\n"],
            [EVENTS, b'data: {"code":"0003",', 1.0, b'"msg":"no"}\n\n'],
        ],
        story,
    )


def test_quiet_stream_is_handed_on_whole(library):
    """After 5 s the read under way passes to the consumer, and nothing of the stream is lost."""

    async def story(client, server):
        async with client.stream("GET", CHAT) as response:
            assert server.now() == pytest.approx(5.0, abs=0.1)
            assert await response.aread() == b"data: one\n\ndata: two\n\n"
            assert server.now() == pytest.approx(3601.0, abs=0.1)

    play(library, [[EVENTS, 3600.0, b"data: one\n\n", 1.0, b"data: two\n\n"]], story)


@pytest.mark.parametrize("step", [0.5, 4.0, 6.0, 8.0], ids=str)
def test_cancelled_stream_leaves_nothing(library, step):
    """Cancelled in the look or in the read, the connection comes back and no task remains."""

    async def story(client, server):
        with trio.move_on_after(step) as scope:
            async with client.stream("GET", CHAT) as response:
                await response.aread()
        assert scope.cancelled_caught
        assert reads_under_way() == []
        with trio.fail_after(2):
            assert (await client.get(LIST)).json()["code"] == "0000"

    play(library, [[EVENTS, 3600.0], [answer(OK)]], story)


def test_closing_a_quiet_stream_ends_its_read(library):
    """Leaving the block ends the read that was handed over."""

    async def story(client, server):
        async with client.stream("GET", CHAT):
            assert len(reads_under_way()) == 1
        assert reads_under_way() == []

    play(library, [[EVENTS, 3600.0]], story)


@pytest.mark.parametrize("step", [0.0, 0.05, 0.5, 1.1, 1.5], ids=str)
def test_cancelled_request_leaves_nothing(library, step):
    """Cancelled in the request, the body or the wait, a call leaves guard and pool as it found them."""

    async def story(client, server):
        with trio.move_on_after(step):
            await client.get(LIST)
        with trio.fail_after(20):
            server.scripts[:] = [[answer(OK)]]
            assert (await client.get("/serve/api/v1/search")).json()["code"] == "0000"

    play(library, [[answer(BUSY, cut=8), 1.0, BUSY[-8:]]], story)


def reads_under_way():
    """Names of system tasks that read ahead."""
    found, todo = [], [trio.lowlevel.current_root_task()]
    while todo:
        task = todo.pop()
        found += [task.name] if "Ahead" in task.name else []
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def test_scripted_transport_in_virtual_time(library):
    """httpx's own MockTransport needs no socket; times are exact."""
    times = []

    def handler(request):
        times.append(trio.current_time())
        return library.Response(200, content=BUSY if len(times) < 3 else OK, headers=JSON)

    async def main():
        transport = make_guard().httpx(library.MockTransport(handler), hosts=["api.test"])
        async with library.AsyncClient(transport=transport) as client:
            response = await client.post("https://api.test" + LIST)
            assert response.json()["code"] == "0000"

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [time - times[0] for time in times] == [0.0, 1.0, 3.0]
