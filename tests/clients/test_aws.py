"""A foreign, status-based API through its own async SDK: aiobotocore on the ``http`` catalog."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import web
from botocore.exceptions import ClientError

from resilience import FatalError, Guard, Outcome, Policy, QuotaError, RetriesExhausted, Verdict
from resilience.adapters.results import outcome_of_exception
from resilience.testing import FixedChance, run_virtual, wall

ONCE = {"total_max_attempts": 1, "mode": "standard"}
"""The SDK's own retries off."""
TABLES = (200, {"TableNames": ["films"]})
KEYS = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "secret"}


def dynamo(status, name, message):
    """An error as DynamoDB sends it."""
    return status, {"__type": f"com.amazonaws.dynamodb.v20120810#{name}", "message": message}


def s3(status, name, message):
    """An error as S3 sends it."""
    return status, f"<Error><Code>{name}</Code><Message>{message}</Message></Error>"


THROTTLED = dynamo(400, "ThrottlingException", "Rate exceeded")
DOWN = dynamo(503, "ServiceUnavailable", "try later")


@asynccontextmanager
async def aws(service, replies, *, retries, headers=None):
    """A client of the SDK, and when its server was asked; the last reply again and again."""
    asked = []
    left = list(replies)

    async def answer(request):
        asked.append(round(asyncio.get_running_loop().time(), 6))
        await request.read()
        status, body = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=headers, content_type="text/xml")
        return web.json_response(
            body, status=status, headers=headers, content_type="application/x-amz-json-1.0"
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = AioConfig(retries=retries, s3={"addressing_style": "path"})
    making = get_session().create_client(
        service,
        region_name="eu-west-1",
        endpoint_url=f"http://127.0.0.1:{runner.addresses[0][1]}",
        config=config,
        **KEYS,
    )
    try:
        async with making as client:
            yield client, asked
    finally:
        await runner.cleanup()


def make_guard(**settings):
    """A guard on the http catalog in virtual time without jitter."""
    return Guard("http", wall=wall, chance=FixedChance(1.0), **settings)


def play(service, replies, story, *, retries=ONCE, headers=None, **settings):
    """Run a story with a wrapped client; gives when the server was asked."""

    async def main():
        async with aws(service, replies, retries=retries, headers=headers) as (client, asked):
            guard = make_guard(**settings)
            await story(guard.wrap(client))
            assert guard._shared.machine.parked == 0
        return asked

    return run_virtual(main)


def test_throttling_under_400_is_waited_for():
    """DynamoDB says it under 400; only the name tells, and the caller sees the success alone."""

    async def story(client):
        assert (await client.list_tables())["TableNames"] == ["films"]

    assert play("dynamodb", [THROTTLED, THROTTLED, TABLES], story) == [0.0, 1.0, 3.0]


def test_slow_down_of_s3_is_a_rate_limit():
    """503 SlowDown closes the shared door instead of counting as an outage, and is waited for."""

    async def story(client):
        await asyncio.gather(*[client.list_buckets() for _ in range(2)])

    slow = s3(503, "SlowDown", "Please reduce your request rate.")
    fine = (200, "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>")
    asked = play("s3", [slow, slow, fine], story)
    assert asked[:2] == [0.0, 0.0]
    assert min(asked[2:]) >= 1.0


def test_hint_of_a_throttled_answer():
    """A Retry-After below the SDK is obeyed: the error carries the headers."""

    async def story(client):
        await client.list_tables()

    asked = play("dynamodb", [THROTTLED, TABLES], story, headers={"Retry-After": "9"})
    assert asked == [0.0, 9.0]


@pytest.mark.parametrize(
    ("service", "call", "reply", "code", "message", "title"),
    [
        pytest.param(
            "dynamodb", "list_tables", dynamo(400, "AccessDeniedException", "not allowed"),
            "AccessDeniedException", "not allowed", "Forbidden", id="dynamodb-denied",
        ),
        pytest.param(
            "s3", "list_buckets", s3(403, "AccessDenied", "Access Denied"),
            "AccessDenied", "Access Denied", "Forbidden", id="s3-denied",
        ),
        pytest.param(
            "dynamodb", "list_tables", dynamo(400, "UnrecognizedClientException", "bad token"),
            "UnrecognizedClientException", "bad token", "Unauthorized", id="dynamodb-key",
        ),
        pytest.param(
            "dynamodb", "list_tables", dynamo(400, "ValidationException", "no such field"),
            "ValidationException", "no such field", "Bad Request", id="dynamodb-invalid",
        ),
    ],
)  # fmt: skip
def test_refusal_is_final(service, call, reply, code, message, title):
    """One request; the error has AWS's name and words, and the SDK's exception as its cause."""

    async def story(client):
        with pytest.raises(FatalError) as caught:
            await getattr(client, call)()
        error = caught.value
        assert (error.code, error.message, error.title) == (code, message, title)
        assert isinstance(error.__cause__, ClientError)

    assert play(service, [reply], story) == [0.0]


def test_read_is_repeated_if_allowed():
    """A 503 was not executed, so it is repeated; a 500 only if ``repeat`` says so."""
    lost = dynamo(500, "InternalServerError", "who knows")

    async def main():
        async with aws("dynamodb", [lost, DOWN, TABLES], retries=ONCE) as (client, asked):
            with pytest.raises(RetriesExhausted) as caught:
                await make_guard().wrap(client).list_tables()
            assert caught.value.reason == "not_repeatable"
            assert (await make_guard().wrap(client).list_tables())["TableNames"] == ["films"]
        assert asked == [0.0, 0.0, 1.0]
        async with aws("dynamodb", [lost, TABLES], retries=ONCE) as (client, asked):
            wrapped = make_guard().wrap(client, repeat=["list_*", "get_*", "query"])
            assert (await wrapped.list_tables())["TableNames"] == ["films"]
        assert asked[1] - asked[0] == 1.0

    run_virtual(main)


def test_own_retries_are_inside_one_attempt():
    """With the SDK's retries on, an attempt of ours is one call of it: 4 × 2 requests, never more."""

    async def story(client):
        with pytest.raises(RetriesExhausted) as caught:
            await client.list_tables()
        assert (caught.value.attempts, caught.value.code) == (4, "ServiceUnavailable")

    retries = {"max_attempts": 1, "mode": "standard"}  # botocore counts the retries here
    assert len(play("dynamodb", [DOWN], story, retries=retries)) == 8


def test_throttled_for_ever_ends():
    """A quota that never opens ends after max_wait, with the words of AWS."""

    async def main():
        async with aws("dynamodb", [THROTTLED], retries=ONCE) as (client, asked):
            guard = make_guard().options(max_wait=10.0)
            with pytest.raises(QuotaError) as caught:
                await guard.wrap(client).list_tables()
            assert (caught.value.code, caught.value.message) == (
                "ThrottlingException", "Rate exceeded",
            )  # fmt: skip
            assert asked == [0.0, 1.0, 3.0, 7.0]

    run_virtual(main)


def test_nothing_but_calls_is_touched():
    """Exceptions, metadata, paginators and waiters of the SDK work as before."""

    async def story(client):
        assert client.meta.region_name == "eu-west-1"
        assert issubclass(client.exceptions.ResourceNotFoundException, ClientError)
        assert client.can_paginate("list_tables")
        pages = client.get_paginator("list_tables").paginate()
        assert [page["TableNames"] async for page in pages] == [["films"]]
        url = await client.generate_presigned_url("list_tables")
        assert url.startswith("http://127.0.0.1")

    assert play("dynamodb", [TABLES], story) == [0.0]


def test_pattern_is_checked_against_the_service():
    """The methods that the SDK makes at run time are known."""

    async def main():
        async with aws("dynamodb", [TABLES], retries=ONCE) as (client, _):
            with pytest.raises(ValueError, match=r"'list_table' matches no method.*'list_tables'"):
                make_guard().wrap(client, only=["list_table"])

    run_virtual(main)


def test_no_server():
    """No answer at all has rules too."""

    async def main():
        url = "http://127.0.0.1:9"
        making = get_session().create_client(
            "dynamodb",
            region_name="eu-west-1",
            endpoint_url=url,
            config=AioConfig(retries=ONCE),
            **KEYS,
        )
        async with making as client:
            guard = make_guard(breaker=None)
            with pytest.raises(RetriesExhausted) as caught:
                await guard.wrap(client).list_tables()
            assert (caught.value.code, caught.value.attempts) == ("EndpointConnectionError", 4)

    run_virtual(main)


@pytest.mark.parametrize(
    "response",
    [{}, {"Error": {}}, {"ResponseMetadata": {}}, {"ResponseMetadata": {"HTTPStatusCode": "x"}}],
)
def test_incomplete_client_error(response):
    """An error with little in it is an outcome all the same."""
    error = ClientError(response, "ListTables")
    outcome = outcome_of_exception(error)
    assert isinstance(outcome, Outcome)
    assert outcome.exception is error
    found = Policy.load("http").classify(
        outcome.body, status=outcome.status, exception=outcome.exception
    )
    assert found.verdict is Verdict.FATAL
