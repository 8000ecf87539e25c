"""The official MemOS SDK, unchanged: sync, in threads, with its code-losing retry still in it."""

import pytest
from memos_sdk_kit import load_sdk, serving

from resilience import AlreadyDone, FatalError, Guard, QuotaError, RetriesExhausted
from resilience.testing import FixedChance, run_virtual, wall

ADDED = {
    "code": 0,
    "message": "ok",
    "data": {"success": True, "task_id": "t1", "status": "running"},
}
FOUND = {"code": 0, "message": "ok", "data": {}}
ADD, SEARCH, STATUS = "add/message", "search/memory", "get/status"
HI = [{"role": "user", "content": "I like tea"}]


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    """The SDK's client module."""
    return load_sdk(tmp_path_factory.mktemp("memos"))


def rejection(code, message, data=None):
    """As the documents show it."""
    return {"code": code, "message": message, "data": data}


def play(sdk, path, replies, story, **settings):
    """Run a story with a wrapped client of the SDK, in virtual time; gives the server."""

    async def main():
        async with serving({path: list(replies)}) as server:
            guard = Guard("memos_cloud", wall=wall, chance=FixedChance(1.0), **settings)
            client = sdk.MemOSClient(api_key="mpg-test", base_url=server.base)
            await story(guard.wrap(client, threads=True))
            assert guard._shared.machine.parked == 0
            assert guard._shared.active == 0
        return server

    return run_virtual(main)


async def add(client):
    """A write: the server merges a second one, so it may be repeated once."""
    return await client.add_message(messages=HI, user_id="u1", conversation_id="c1")


async def search(client):
    """A read that is a POST."""
    return await client.search_memory(query="tea", user_id="u1", conversation_id="c1")


async def status(client):
    """The SDK calls ``get/status`` get_task_status."""
    return await client.get_task_status("t1")


def times(server):
    """When it was asked, in virtual seconds."""
    return [at for _, at in server.asked]


def test_typed_result_is_untouched(sdk):
    """A success is one request, and the model that the SDK made of it."""

    async def story(client):
        result = await add(client)
        assert type(result) is sdk.MemOSAddResponse
        assert (result.success, result.data.task_id) == (True, "t1")
        assert isinstance(client, sdk.MemOSClient)

    server = play(sdk, ADD, [ADDED], story)
    assert times(server) == [0.0]
    assert server.bodies[0]["messages"] == HI


@pytest.mark.parametrize(
    ("code", "words", "kind", "title"),
    [
        pytest.param(
            40132, "API Key invalid", FatalError, "API Key invalid or disabled", id="refused-key"
        ),
        pytest.param(
            40000, "bad role", FatalError, "Required parameters missing or format invalid", id="bad"
        ),
        pytest.param(
            40304, "limit", QuotaError, "Account total API call limit reached", id="exhausted"
        ),
    ],
)
def test_final_code_survives_the_sdk(sdk, code, words, kind, title):
    """The SDK asks three times at once and raises a ValidationError; ours has code, words and remedy."""

    async def story(client):
        with pytest.raises(kind) as caught:
            await add(client)
        error = caught.value
        assert type(error) is kind
        assert (error.code, error.message, error.title) == (str(code), words, title)
        assert error.remedy != ""
        assert (error.attempts, error.endpoint) == (1, "add_message")
        assert type(error.__cause__).__name__ == "ValidationError"

    server = play(sdk, ADD, [rejection(code, words)], story)
    assert times(server) == [0.0, 0.0, 0.0]


def test_second_call_is_refused_locally(sdk):
    """An exhausted account costs the three blind requests of one call, and none for the next."""

    async def story(client):
        for _ in range(2):
            with pytest.raises(QuotaError) as caught:
                await add(client)
        assert (caught.value.attempts, caught.value.code) == (0, "40304")
        assert caught.value.retry_after == 3600.0

    server = play(sdk, ADD, [rejection(40304, "Account total API call limit reached")], story)
    assert times(server) == [0.0, 0.0, 0.0]


def test_sdk_may_be_lucky(sdk):
    """A window that opens between two of the SDK's own tries never reaches us."""

    async def story(client):
        assert (await add(client)).success

    server = play(sdk, ADD, [rejection(40309, "Token usage"), ADDED], story)
    assert times(server) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("code", "call", "path", "last", "wait"),
    [
        pytest.param(40309, add, ADD, ADDED, 2.0, id="window"),
        pytest.param(50004, add, ADD, ADDED, 1.0, id="unavailable"),
    ],
)
def test_passing_code_is_waited_for(sdk, code, call, path, last, wait):
    """The three blind tries are one attempt; the next one comes after the code's own wait."""
    refused = rejection(code, "words")

    async def story(client):
        assert (await call(client)).code == 0

    server = play(sdk, path, [refused, refused, refused, last], story)
    assert times(server) == [0.0, 0.0, 0.0, wait]


def test_attempts_are_multiplied_by_the_sdk(sdk):
    """Four attempts of ours are twelve requests, because each of them is three of the SDK's."""

    async def story(client):
        with pytest.raises(RetriesExhausted) as caught:
            await add(client)
        assert (caught.value.code, caught.value.attempts) == ("50004", 4)

    server = play(sdk, ADD, [rejection(50004, "unavailable")], story)
    assert times(server) == [0.0] * 3 + [1.0] * 3 + [3.0] * 3 + [7.0] * 3


def test_sdk_can_be_told_to_try_once(sdk, monkeypatch):
    """With the SDK's own constant at 1, an attempt is a request."""
    monkeypatch.setattr(sdk, "MAX_RETRY_COUNT", 1)

    async def story(client):
        assert (await add(client)).success

    server = play(sdk, ADD, [rejection(40309, "Token usage")] * 2 + [ADDED], story)
    assert times(server) == [0.0, 2.0, 6.0]


def test_code_in_a_result_is_judged(sdk):
    """With ``data: {}`` the SDK returns an empty "success" that carries the code."""

    async def story(client):
        with pytest.raises(FatalError) as caught:
            await search(client)
        assert (caught.value.code, caught.value.__cause__) == ("50131", None)

    server = play(sdk, SEARCH, [rejection(50131, "Task not found", {})], story)
    assert times(server) == [0.0]


def test_code_in_a_dict_is_judged(sdk):
    """Some methods return the error's body as if all were well."""

    async def story(client):
        with pytest.raises(FatalError) as caught:
            await client.update_memory(memory_id="m1", content="coffee")
        assert (caught.value.code, caught.value.endpoint) == ("40132", "update_memory")

    assert times(play(sdk, "update/memory", [rejection(40132, "API Key invalid")], story)) == [0.0]


@pytest.mark.parametrize("data", [None, {}], ids=["null", "empty"])
def test_unknown_task(sdk, data):
    """50131 is found whether the model misses the task's fields or the whole of ``data``."""

    async def story(client):
        with pytest.raises(FatalError) as caught:
            await status(client)
        assert (caught.value.code, caught.value.endpoint) == ("50131", "get_status")
        assert caught.value.message == "Task not found"

    play(sdk, STATUS, [rejection(50131, "Task not found", data)], story)


def test_duplicate_delete(sdk):
    """What was deleted before is AlreadyDone, though the SDK knows only a ValidationError."""

    async def story(client):
        with pytest.raises(AlreadyDone):
            await client.delete_memory(memory_ids=["m1"])

    gone = rejection(40307, "Memory for deletion does not exist")
    play(sdk, "delete/memory", [gone], story)


def test_status_and_hint_below_the_sdk(sdk):
    """``raise_for_status`` keeps the response, and its Retry-After is obeyed."""
    busy = (503, "busy", {"Retry-After": "7"})

    async def story(client):
        assert (await search(client)).code == 0

    server = play(sdk, SEARCH, [busy, busy, busy, FOUND], story)
    assert times(server) == [0.0, 0.0, 0.0, 7.0]


def test_code_under_an_error_status(sdk):
    """``raise_for_status`` comes before the body is looked at; its code counts all the same."""

    async def story(client):
        with pytest.raises(FatalError) as caught:
            await search(client)
        assert (caught.value.code, caught.value.message) == ("40132", "API Key invalid")
        assert type(caught.value.__cause__).__name__ == "HTTPError"

    play(sdk, SEARCH, [(401, rejection(40132, "API Key invalid"), {})], story)


def test_lost_answer_after_a_rejection_is_uncertain(sdk):
    """Rejected first, then the connection broke: the SDK's last try may have been done."""

    async def story(client):
        with pytest.raises(RetriesExhausted) as caught:
            await client.create_knowledgebase(knowledgebase_name="k", knowledgebase_description="d")
        assert (caught.value.code, caught.value.reason) == ("ConnectionError", "not_repeatable")

    busy = rejection(40309, "Token usage")
    server = play(sdk, "create/knowledgebase", [busy, busy, "hang up"], story)
    assert times(server) == [0.0, 0.0, 0.0]


def test_uncertain_write_of_ours_is_not_repeated(sdk):
    """Creating is not repeated after 50000; what the SDK did by itself before is its own doing."""

    async def story(client):
        with pytest.raises(RetriesExhausted) as caught:
            await client.create_knowledgebase(knowledgebase_name="k", knowledgebase_description="d")
        assert (caught.value.code, caught.value.reason) == ("50000", "not_repeatable")

    failed = rejection(50000, "Internal server error")
    server = play(sdk, "create/knowledgebase", [failed], story)
    assert times(server) == [0.0, 0.0, 0.0]


def test_no_server(sdk):
    """requests' own exception is judged by its rule, after the waits of it."""

    async def main():
        guard = Guard("memos_cloud", wall=wall, chance=FixedChance(1.0), breaker=None)
        client = sdk.MemOSClient(api_key="mpg-test", base_url="http://127.0.0.1:9/v1")
        with pytest.raises(RetriesExhausted) as caught:
            await search(guard.wrap(client, threads=True))
        assert (caught.value.code, caught.value.attempts) == ("ConnectionError", 4)

    run_virtual(main)


def test_sync_client_needs_threads(sdk):
    """Without threads there is nothing to guard, and it says so."""
    client = sdk.MemOSClient(api_key="mpg-test", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(TypeError, match="threads=True"):
        Guard("memos_cloud").wrap(client)


def test_streamed_chat_is_refused(sdk):
    """``chat(stream=True)`` gives a sync generator, which would block the loop."""
    stream = 'data: {"type": "text", "data": "tea"}\n\ndata: [DONE]\n\n'
    asked = {"user_id": "u1", "conversation_id": "c1", "query": "tea?"}

    async def story(client):
        with pytest.raises(TypeError, match="generator"):
            await client.chat(**asked, stream=True)

    play(sdk, "chat", [(200, stream, {})], story)
