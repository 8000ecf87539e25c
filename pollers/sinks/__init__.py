"""Where events are delivered: each sink reads the stored events behind a cursor of its own.

At least once, in order per job; a sink that fails delays nobody else and loses nothing.
"""

from pollers.sinks.base import POLICY, Sink
from pollers.sinks.callback import CallbackSink
from pollers.sinks.cloudevents import CloudEventsHttp
from pollers.sinks.jetstream import JetStream
from pollers.sinks.json_lines import JsonLines
from pollers.sinks.redis_stream import RedisStream
from pollers.sinks.webhook import Webhook

__all__ = (
    "POLICY",
    "CallbackSink",
    "CloudEventsHttp",
    "JetStream",
    "JsonLines",
    "RedisStream",
    "Sink",
    "Webhook",
)
