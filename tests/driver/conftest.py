from driver_kit import run

__all__ = ("run",)
