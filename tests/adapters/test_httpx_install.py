"""Installing in a client that exists: its transports are wrapped where they are, and nothing else changes."""

import aiohttp
import anyio
import httpx
import httpx2
import pytest
from adapter_kit import BUSY, LIST, OK, UPLOAD, json, make_guard, serving
from stream_kit import library_of

from resilience import QuotaError, report
from resilience.adapters.httpx import Transport
from resilience.testing import run_virtual

HOST = "api.test"
FAULT = {"code": "0001", "msg": "network abnormal"}


@pytest.fixture(params=["httpx", "httpx2"])
def library(request):
    """httpx and its successor."""
    return library_of(request.param)


class Scripted:
    """Answers with these bodies, the last again and again, and counts."""

    def __init__(self, library, *bodies):
        self.library = library
        self.bodies = list(bodies)
        self.asked = 0
        self.transport = library.MockTransport(self.answer)

    def answer(self, request):
        self.asked += 1
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        return self.library.Response(200, json=body)


def test_install_gives_the_client_back(library):
    """The same client, so that it can be given to an SDK in one line."""

    async def main():
        client = library.AsyncClient()
        assert make_guard().install(client, hosts=[HOST]) is client
        await client.aclose()

    run_virtual(main)


def test_mounts_are_wrapped_where_they_are(library):
    """Every mount guards through its own transport; a mount of None falls back to the default."""

    async def main():
        default, proxy = Scripted(library, BUSY, OK), Scripted(library, BUSY, OK)
        guard = make_guard()
        client = library.AsyncClient(
            transport=default.transport,
            mounts={"all://proxied.test": proxy.transport, "all://direct.test": None},
        )
        before = list(client._mounts)
        guard.install(client, hosts=["proxied.test", "direct.test", HOST])
        assert list(client._mounts) == before
        for host, used in (("proxied.test", proxy), ("direct.test", default), (HOST, default)):
            response = await client.post(f"https://{host}{LIST}")
            assert (response.json(), report(response).error) == (OK, None)
            assert used.asked >= 2
        assert (proxy.asked, default.asked) == (2, 3)
        await client.aclose()

    run_virtual(main)


def test_proxies_of_the_environment_are_kept(library, monkeypatch):
    """HTTP_PROXY and NO_PROXY mean the same after as before."""
    for name in ("ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "direct.test")

    async def main():
        client = library.AsyncClient()
        names = ("http://proxied.test/", "http://direct.test/")
        before = [client._transport_for_url(library.URL(url)) for url in names]
        make_guard().install(client, hosts=[HOST])
        after = [client._transport_for_url(library.URL(url)) for url in names]
        assert [transport.inner for transport in after] == before
        assert before[0] is not before[1]
        await client.aclose()

    run_virtual(main)


def test_installing_twice_wraps_once(library):
    """The same guard, or a view of it, is there once; the newest settings hold."""

    async def main():
        server = Scripted(library, {"code": "0001", "msg": "network"})
        guard, other = make_guard(), make_guard()
        client = library.AsyncClient(transport=server.transport)
        guard.install(client, hosts=[HOST])
        other.install(client, hosts=["elsewhere.test"])
        guard.options(max_attempts=2).install(client, hosts=[HOST, "more.test"])
        assert report(await client.post(f"https://{HOST}{LIST}")).attempts == 2
        assert server.asked == 2
        assert report(await client.post(f"https://more.test{LIST}")).attempts == 2
        outer, inner = client._transport, client._transport.inner
        assert (outer.guard, inner.inner) == (other, server.transport)
        await client.aclose()

    run_virtual(main)


def test_closing_the_client_closes_what_is_inside(library):
    """Entering, leaving and closing go through to the wrapped transports."""
    told = []

    class Inner(library.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return library.Response(200, json=OK)

        async def __aenter__(self):
            told.append("enter")
            return self

        async def __aexit__(self, *raised):
            told.append("exit")

        async def aclose(self):
            told.append("close")

    async def main():
        guard = make_guard()
        async with guard.install(library.AsyncClient(transport=Inner()), hosts=[HOST]) as client:
            assert (await client.get(f"https://{HOST}{LIST}")).json() == OK
        await guard.install(library.AsyncClient(transport=Inner()), hosts=[HOST]).aclose()

    run_virtual(main)
    assert told == ["enter", "exit", "close"]


def test_install_in_a_client_at_work(library):
    """A client that is open already may be guarded too."""

    async def main():
        async with serving(json(BUSY), json(OK)) as server:
            async with library.AsyncClient(timeout=None) as client:
                assert (await client.post(server.base + LIST)).json() == BUSY
                server.handlers[:] = [json(BUSY), json(OK)]
                make_guard().install(client, hosts=["127.0.0.1"])
                assert (await client.post(server.base + LIST)).json() == OK

    run_virtual(main)


def test_transport_of_its_own(library):
    """AsyncClient(transport=guard.httpx(inner)) is the same for one transport."""

    async def main():
        server = Scripted(library, BUSY, OK)
        transport = make_guard().httpx(server.transport, hosts=[HOST])
        assert isinstance(transport, library.AsyncBaseTransport)
        async with library.AsyncClient(transport=transport) as client:
            assert (await client.post(f"https://{HOST}{LIST}")).json() == OK

    run_virtual(main)


def test_transport_without_an_inner_one():
    """guard.httpx() sends through a plain AsyncHTTPTransport."""

    async def main():
        transport = make_guard().httpx()
        assert isinstance(transport, Transport)
        assert isinstance(transport.inner, httpx.AsyncHTTPTransport)
        assert "api.memories.ai" in transport.hosts
        await transport.aclose()

    run_virtual(main)


@pytest.mark.parametrize(
    ("url", "hosts", "ours"),
    [
        pytest.param("https://api.test/x", ["api.test:443"], True, id="default-port"),
        pytest.param("http://api.test/x", ["api.test:80"], True, id="default-http-port"),
        pytest.param("https://api.test:8443/x", ["api.test:8443"], True, id="port"),
        pytest.param("https://api.test:8443/x", ["api.test:443"], False, id="other-port"),
        pytest.param("https://API.test/x", ["api.test"], True, id="case"),
    ],
)
def test_hosts_may_name_a_port(library, url, hosts, ours):
    """A host is a name, or a name with its port, the default ones included."""

    async def main():
        server = Scripted(library, OK)
        transport = make_guard().httpx(server.transport, hosts=hosts)
        async with library.AsyncClient(transport=transport) as client:
            assert (report(await client.get(url)) is not None) is ours

    run_virtual(main)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(httpx.Client, "AsyncClient", id="httpx-sync"),
        pytest.param(httpx2.Client, "AsyncClient", id="httpx2-sync"),
        pytest.param(object, "http_client=guard.install", id="object"),
        pytest.param(lambda: aiohttp.ClientSession, "http_client=", id="class"),
    ],
)
def test_wrong_client_is_refused(make, words):
    """What can't be guarded so is a TypeError that names the right form."""
    with pytest.raises(TypeError, match=words):
        make_guard().install(make(), hosts=[HOST])


def test_aiohttp_session_is_refused():
    """An aiohttp session takes the middleware instead, and the error says so."""

    async def main():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(TypeError, match=r"middlewares=\[guard.aiohttp\(\)\]"):
                make_guard().install(session)

    run_virtual(main)


@pytest.mark.parametrize("inner", [httpx.HTTPTransport, object])
def test_wrong_transport_is_refused(inner):
    """A sync transport can't be wrapped."""
    with pytest.raises(TypeError, match="AsyncBaseTransport"):
        make_guard().httpx(inner())


@pytest.mark.parametrize(
    ("hosts", "kind"),
    [([], ValueError), ("api.test", TypeError), (["https://api.test"], ValueError)],
)
def test_wrong_hosts_are_refused(hosts, kind):
    """A list of hosts that would guard nothing is refused, and the client is left as it was."""
    client = httpx.AsyncClient()
    before = client._transport
    with pytest.raises(kind, match="hosts"):
        make_guard().install(client, hosts=hosts)
    assert client._transport is before


def test_a_layer_in_between_does_not_multiply_attempts(library):
    """Two of ours around a transport of the user's make as many attempts as one: the outermost decides."""

    class Between(library.AsyncBaseTransport):
        def __init__(self, inner):
            self.inner = inner

        async def handle_async_request(self, request):
            return await self.inner.handle_async_request(request)

    async def main():
        script, guard = Scripted(library, FAULT), make_guard()
        inner = guard.httpx(script.transport, hosts=[HOST])
        client = guard.install(library.AsyncClient(transport=Between(inner)), hosts=[HOST])
        for _ in range(2):
            script.asked = 0
            await client.post(f"http://{HOST}{LIST}")
            assert script.asked == 3
        assert guard._shared.sending == set()

    run_virtual(main)


def test_what_was_read_whole_is_handed_back_after_a_wait(library):
    """The account is used up while a retry waits: the client gets its last response, not an exception."""

    class Unread(library.AsyncByteStream):
        def __init__(self, body):
            self.body = body

        async def __aiter__(self):
            yield self.body

    class Inner(library.AsyncBaseTransport):
        async def handle_async_request(self, request):
            code = request.url.params["code"]
            body = b'{"code": "%s", "msg": "network abnormal"}' % code.encode()
            headers = {"content-type": "application/json"}
            return library.Response(200, headers=headers, stream=Unread(body))

    async def main():
        client = library.AsyncClient(transport=make_guard().httpx(Inner(), hosts=[HOST]))
        got = []

        async def post(code):
            response = await client.post(f"http://{HOST}{LIST}", params={"code": code})
            got.append((response.json()["code"], report(response).error.code))

        async with anyio.create_task_group() as group:
            group.start_soon(post, "0001")
            await anyio.sleep(0.1)
            group.start_soon(post, "0402")
        assert got == [("0402", "0402"), ("0001", "0402")]

    run_virtual(main)


def test_what_was_done_is_not_done_again_for_a_request_after_it(library):
    """A call uploads, then asks something else and is rejected: the upload is not made a second time."""

    async def main():
        uploads = []

        def answer(request):
            if request.url.path != LIST:
                uploads.append(request)
                return library.Response(200, json=OK)
            return library.Response(200, json=BUSY)

        guard = make_guard()
        transport = guard.httpx(library.MockTransport(answer), hosts=[HOST])
        client = library.AsyncClient(transport=transport)

        async def add():
            await client.post(f"http://{HOST}{UPLOAD}")
            await client.post(f"http://{HOST}{LIST}")

        with pytest.raises(QuotaError) as caught:
            await guard.call(add)
        assert (caught.value.reason, len(uploads)) == ("not_repeatable", 1)
        with pytest.raises(QuotaError):
            await guard.options(idempotent=True).call(add)
        assert len(uploads) > 2

    run_virtual(main)
