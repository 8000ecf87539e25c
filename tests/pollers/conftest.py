from pollers_kit import run

__all__ = ("run",)
