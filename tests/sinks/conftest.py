from sinks_kit import servers

__all__ = ("servers",)
