"""Redis Streams and NATS JetStream on real servers: lost answers, other owners, limits."""

import json
import sys
from typing import Any

import pytest
from sinks_kit import PLACES, STORE, Nats, Redis, events, ids

from pollers import EventRefused
from pollers.sinks import JetStream, RedisStream, Webhook

OTHER = "b2" * 16


@pytest.fixture
async def redis(tmp_path: Any, servers: Any) -> Any:
    async with Redis(tmp_path, servers) as place:
        await place.mend()
        yield place


@pytest.fixture
async def nats(tmp_path: Any, servers: Any) -> Any:
    async with Nats(tmp_path, servers) as place:
        await place.mend()
        yield place


# -- Redis --------------------------------------------------------------------------------------


async def test_redis_ids_are_sequence_numbers(redis: Any) -> None:
    """An entry is the id and the CloudEvent; its number in Redis is the store's."""
    sink = redis.sink()
    await sink.deliver(events(2, first=41))
    await sink.aclose()
    entries = await redis.client.xrange(redis.key)
    assert [number for number, _ in entries] == [b"41-0", b"42-0"]
    assert [entry[b"id"].decode() for _, entry in entries] == ids(events(2, first=41))
    assert json.loads(entries[0][1][b"event"]) == events(1, first=41)[0].to_cloudevent()


async def test_redis_takes_a_batch_whole_or_not_at_all(redis: Any) -> None:
    """If only the middle of a batch failed, it would be hidden by what came after."""
    sink = redis.sink()
    await sink.deliver(events(1))
    await redis.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(Exception, match="(?i)memory|EXECABORT"):
            await sink.deliver(events(3))
    finally:
        await redis.client.config_set("maxmemory", "0")
    assert await redis.ids() == ids(events(1))
    await sink.deliver(events(3))
    await sink.aclose()
    assert await redis.ids() == ids(events(3))


async def test_redis_what_a_consumer_deleted_does_not_come_back(redis: Any) -> None:
    """The number counts, also in a stream that is empty again."""
    sink = redis.sink()
    await sink.deliver(events(2))
    await redis.client.xtrim(redis.key, maxlen=0)
    await sink.deliver(events(3))
    await sink.aclose()
    assert await redis.ids() == ids(events(1, first=3))


async def test_redis_refuses_the_stream_of_another_store(redis: Any) -> None:
    """Its numbers would be taken for what is there; the message says what to do."""
    sink = redis.sink()
    await sink.deliver(events(3))
    with pytest.raises(ValueError, match=f"belongs to the store {STORE}, not to {OTHER}"):
        await sink.deliver(events(1, store=OTHER))
    await sink.aclose()
    assert await redis.ids() == ids(events(3))


async def test_redis_length_is_bounded_if_asked(redis: Any) -> None:
    """About so many stay."""
    sink = redis.sink(maxlen=100)
    for first in range(1, 1001, 100):
        await sink.deliver(events(100, first=first))
    await sink.aclose()
    assert 100 <= await redis.client.xlen(redis.key) <= 300
    assert (await redis.ids())[-1] == f"{STORE}:1000:2"


async def test_redis_client_of_the_user_stays_open(redis: Any) -> None:
    """It may be shared."""
    sink = RedisStream(redis.client, redis.key, name="mine")
    await sink.deliver(events(1))
    await sink.aclose()
    assert await redis.ids() == ids(events(1))
    assert sink.name == "mine"


async def test_redis_lost_connections_are_made_again(redis: Any) -> None:
    """The server dropped it: that one delivery fails, the next one works."""
    sink = redis.sink()
    await sink.deliver(events(1))
    await redis.client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(Exception, match="(?i)closed|reset"):
        await sink.deliver(events(2))
    await sink.deliver(events(2))
    await sink.aclose()
    assert await redis.ids() == ids(events(2))


# -- NATS ---------------------------------------------------------------------------------------


async def test_nats_messages_are_cloudevents(nats: Any) -> None:
    """The body is the event, and each is published behind the one before it."""
    sink = nats.sink()
    await nats.js.publish(f"other.{nats.name}", b"of somebody else")
    await sink.deliver(events(2))
    await sink.aclose()
    _, one, two = await nats.messages()
    assert json.loads(one.data) == events(1)[0].to_cloudevent()
    assert one.headers["Content-Type"] == "application/cloudevents+json"
    assert [m.headers["Nats-Expected-Last-Subject-Sequence"] for m in (one, two)] == ["0", "2"]


async def test_nats_a_lost_acknowledgement_doubles_nothing(nats: Any, monkeypatch: Any) -> None:
    """The message is there, the answer never came: the next attempt finds it."""
    sink = nats.sink()
    await sink.deliver(events(1))
    publish = type(sink._client.jetstream()).publish

    async def loses(*args: Any, **settings: Any) -> Any:
        await publish(*args, **settings)
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(type(sink._client.jetstream()), "publish", loses)
        with pytest.raises(TimeoutError):
            await sink.deliver(events(2))
    await sink.deliver(events(3))
    await sink.aclose()
    assert await nats.ids() == ids(events(3))


async def test_nats_a_second_publisher_is_noticed(nats: Any) -> None:
    """What we expect is not what is there: nothing is published, then we look again."""
    first, second = nats.sink(), nats.sink()
    await first.deliver(events(1))
    await second.deliver(events(2))
    with pytest.raises(Exception, match="wrong last sequence"):
        await first.deliver(events(3)[1:])
    await first.deliver(events(3)[1:])
    for sink in (first, second):
        await sink.aclose()
    assert await nats.ids() == ids(events(3))


async def test_nats_another_store_goes_on(nats: Any) -> None:
    """Its numbers start at 1 again; they are not taken for those of the store before."""
    for given in (events(2), events(2, store=OTHER), events(3, store=OTHER)):
        sink = nats.sink()
        await sink.deliver(given)
        await sink.aclose()
    assert await nats.ids() == [*ids(events(2)), *ids(events(3, store=OTHER))]


async def test_nats_a_message_of_somebody_else_is_no_place_of_ours(nats: Any) -> None:
    """What a person published to try the stream out: we go on behind it."""
    await nats.js.publish(nats.subject, b"hello")
    sink = nats.sink()
    await sink.deliver(events(2))
    await sink.aclose()
    assert [json.loads(one.data)["id"] for one in (await nats.messages())[1:]] == ids(events(2))


async def test_nats_what_is_too_large_is_refused(nats: Any) -> None:
    """By the server (1 MiB) or by the stream; a smaller one is taken by the same sink."""
    sink = nats.sink()
    with pytest.raises(EventRefused, match="bytes: .*maximum payload"):
        await sink.deliver(events(1, data="x" * 1_100_000))
    stream = (await nats.js.stream_info(nats.name)).config
    stream.max_msg_size = 2000
    await nats.js.update_stream(stream)
    with pytest.raises(EventRefused, match="message size exceeds"):
        await sink.deliver(events(1, data="x" * 3000))
    await sink.deliver(events(1, first=2))
    await sink.aclose()
    assert await nats.ids() == ids(events(1, first=2))


async def test_nats_client_of_the_user_stays_open(nats: Any) -> None:
    """It may be shared."""
    sink = JetStream(nats.client, nats.name, nats.subject)
    await sink.deliver(events(1))
    await sink.aclose()
    assert await nats.ids() == ids(events(1))


# -- packages that are missing --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "extra", "make"),
    [
        ("standardwebhooks", "webhook", lambda: Webhook("http://x", secret="whsec_YWJj")),
        ("redis", "redis", lambda: RedisStream("redis://x", "k")),
        ("nats", "nats", lambda: JetStream("nats://x", "s", "s")),
    ],
)
def test_a_missing_package_is_told_with_its_extra(
    package: str, extra: str, make: Any, monkeypatch: Any
) -> None:
    """When the sink is made, not when it is first needed."""
    for name in [one for one in sys.modules if one.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'resilience-pollers\[{extra}\]'"):
        make()


def test_importing_the_sinks_imports_no_optional_package() -> None:
    """They are imported where they are used."""
    import subprocess

    script = (
        "import sys, pollers.sinks; print({'redis', 'nats', 'standardwebhooks'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_every_sink_is_under_contract() -> None:
    """A new one must be added."""
    from pollers import sinks

    made = {"CallbackSink", "CloudEventsHttp", "JetStream", "JsonLines", "RedisStream", "Webhook"}
    assert made == {*sinks.__all__} - {"POLICY", "Sink"}
    assert len(PLACES) == len(made) + 1  # CloudEvents in both modes
