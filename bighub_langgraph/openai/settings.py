"""The options of a client, checked when it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.retries import Retry

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a user may set, besides clients and tools; the client's signature has the defaults."""

    decision_mode: str
    decision_objective: str
    model_selection: str
    fail_mode: str
    max_tool_rounds: int
    outcome_reporting: bool
    outcome_reporting_required: bool
    memory_enabled: bool
    memory_source: str
    memory_source_version: str
    memory_ingest_timeout_ms: int
    on_decision: Callable[[dict[str, Any]], Any] | None
    provider_timeout_seconds: float
    provider_max_retries: int
    provider_retry_backoff_seconds: float
    provider_retry_max_backoff_seconds: float
    provider_retry_jitter_seconds: float
    provider_circuit_breaker_failures: int
    provider_circuit_breaker_reset_seconds: float
    evaluate_retries: int
    signing_key: str | bytes | None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                listed = ", ".join(map(repr, choices))
                raise AdapterConfigurationError(
                    f"{name} is one of {listed}, not {getattr(self, name)!r}"
                )
        for name, (least, kind) in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind) or not value >= least:
                raise AdapterConfigurationError(f"{name} is a number from {least}, not {value!r}")
        if self.on_decision is not None and not callable(self.on_decision):
            raise AdapterConfigurationError(f"on_decision is a function, not {self.on_decision!r}")
        if self.outcome_reporting_required and not self.outcome_reporting:
            raise AdapterConfigurationError("outcome_reporting_required needs outcome_reporting")
        if self.signing_key is not None and not self.signing_key:
            raise AdapterConfigurationError("signing_key must not be empty")

    @property
    def key(self) -> bytes | None:
        """The signing key as bytes."""
        return self.signing_key.encode() if isinstance(self.signing_key, str) else self.signing_key

    @property
    def retry(self) -> Retry:
        """How often and how slowly the model's service is asked again."""
        return Retry(
            attempts=self.provider_max_retries + 1,
            first=self.provider_retry_backoff_seconds,
            longest=self.provider_retry_max_backoff_seconds,
            jitter=self.provider_retry_jitter_seconds,
        )


_CHOICES = {
    "decision_mode": ("submit", "submit_payload"),
    "fail_mode": ("closed", "review", "open"),
}
_NUMBER = (int, float)
_LEAST: dict[str, tuple[float, Any]] = {
    "max_tool_rounds": (1, int),
    "memory_ingest_timeout_ms": (0, _NUMBER),
    "provider_timeout_seconds": (0.001, _NUMBER),
    "provider_max_retries": (0, int),
    "provider_retry_backoff_seconds": (0, _NUMBER),
    "provider_retry_max_backoff_seconds": (0, _NUMBER),
    "provider_retry_jitter_seconds": (0, _NUMBER),
    "provider_circuit_breaker_failures": (0, int),
    "provider_circuit_breaker_reset_seconds": (0, _NUMBER),
    "evaluate_retries": (0, int),
}
