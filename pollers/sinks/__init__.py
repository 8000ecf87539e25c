"""Where events are delivered: each sink reads the stored events behind a cursor of its own.

At least once, in order per job; a sink that fails delays nobody else and loses nothing.
"""

from pollers.sinks.base import POLICY, Sink
from pollers.sinks.callback import CallbackSink

__all__ = ("POLICY", "CallbackSink", "Sink")
