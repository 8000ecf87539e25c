"""Where events are delivered: each sink reads the stored events behind a cursor of its own.

At least once, in order; a sink that fails delays nobody else and loses nothing.
"""

from pollers.sinks.callback import CallbackSink

__all__ = ("CallbackSink",)
