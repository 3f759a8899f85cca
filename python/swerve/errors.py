"""Why there is no score."""

from __future__ import annotations


class RewardError(RuntimeError):
    """No score. `code` is the gRPC status code's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class InfrastructureError(RewardError):
    """The service is away, overloaded or too slow; the request itself is fine."""


class RequestError(RewardError):
    """The request can never be answered: unknown scene, bad arguments, too large."""
