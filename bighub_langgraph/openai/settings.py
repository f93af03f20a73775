"""The options of a client."""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from bighub_langgraph import __version__
from bighub_langgraph.bighub.limits import EVALUATE_TIMEOUT
from bighub_langgraph.core.ports import JournalPort
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.telemetry import Telemetry

if TYPE_CHECKING:
    from bighub_langgraph.guard import BighubGuard


@dataclass(kw_only=True, repr=False, eq=False)
class ClientSettings:
    """The options of `BighubOpenAI` and `AsyncBighubOpenAI`.

    Args:
        bighub_api_key: The key of BIGHUB's service; BIGHUB_API_KEY by default.
        actor: The actor that BIGHUB sees; "AI_AGENT" by default.
        domain: The domain of the actions; "it_actions" by default.
        openai_api_key: The key of the model's service; OPENAI_API_KEY by default.
        openai_client: A client instead of a key: one of OpenAI's SDK, or anything with its
            `responses.create`.
        bighub_client: A client of BIGHUB's SDK, blocking or async, or anything like it.
        bighub: The same; also "local" for the embedded engine, the URL of its database, or the
            https URL of a BIGHUB service.
        decision_mode: "submit" or "submit_payload".
        decision_objective: The objective that BIGHUB evaluates for.
        model_selection: Which of its models BIGHUB uses.
        fail_mode: While BIGHUB is unreachable: "closed" blocks, "review" asks a person, "open"
            executes.
        max_tool_rounds: How many rounds of tools a run may have.
        outcome_reporting: Whether outcomes are reported.
        outcome_reporting_required: Refuses a client that does not report outcomes. Reports are
            stored until they are delivered; a run never fails because of one.
        memory_enabled: Whether the calls of each turn are sent to BIGHUB's memory.
        memory_source: The source that BIGHUB's memory shows for them.
        memory_source_version: The version of the source.
        memory_ingest_timeout_ms: How long a run waits at its end for the delivery of its reports;
            the rest is delivered in the background and by `close`.
        on_decision: Called with the event of each call that BIGHUB evaluated.
        session_id: The id of this client's session in BIGHUB's trajectories; random by default. A
            run keeps that of the client which started it.
        provider_timeout_seconds: How long one request to the model's service may take; by default
            what your `openai_client` is set to, 30 without one.
        provider_max_retries: How often such a request is retried; by default what your
            `openai_client` is set to, 2 without one. Another number than that of your client is set
            on a copy of it, which what was patched onto your client object does not see.
        provider_retry_backoff_seconds: The first delay, for clients that do not retry themselves.
        provider_retry_max_backoff_seconds: The longest delay.
        provider_retry_jitter_seconds: The range of the random part of the delays.
        provider_circuit_breaker_failures: After so many failures in a row no request is sent for a
            while; 0 disables this.
        provider_circuit_breaker_reset_seconds: How long no request is sent.
        evaluate_retries: How often an evaluation is retried.
        evaluate_timeout: How many seconds an evaluation may take, with all its tries.
        telemetry: What OpenTelemetry is shown, where the application has set a provider.
        guard: A `BighubGuard` to share: its engine, journal, policies and settings.
        journal: A `Journal`, its path or URL. With a durable one, stopped runs are resumed in other
            processes, once.
        signing_key: Signs stored runs; unsigned ones are then refused.

    Raises:
        AdapterConfigurationError: An option cannot work; the message says what to pass instead.
    """

    bighub_api_key: str | None = None
    actor: str | None = None
    domain: str | None = None
    openai_api_key: str | None = None
    openai_client: Any = None
    bighub_client: Any = None
    bighub: Any = None
    decision_mode: str = "submit"
    decision_objective: str = "better_decision"
    model_selection: str = "auto"
    fail_mode: str = "closed"
    max_tool_rounds: int = 8
    outcome_reporting: bool = True
    outcome_reporting_required: bool = False
    memory_enabled: bool = True
    memory_source: str = "openai_adapter"
    memory_source_version: str = f"bighub-langgraph@{__version__}"
    memory_ingest_timeout_ms: int = 300
    on_decision: Callable[[dict[str, Any]], Any] | None = None
    session_id: str | None = None
    provider_timeout_seconds: float | None = None
    provider_max_retries: int | None = None
    provider_retry_backoff_seconds: float = 0.25
    provider_retry_max_backoff_seconds: float = 2.0
    provider_retry_jitter_seconds: float = 0.1
    provider_circuit_breaker_failures: int = 0
    provider_circuit_breaker_reset_seconds: float = 30.0
    evaluate_retries: int = 2
    evaluate_timeout: float = EVALUATE_TIMEOUT
    telemetry: Telemetry | None = None
    guard: "BighubGuard | None" = None
    journal: JournalPort | str | PathLike[str] | None = None
    signing_key: str | bytes | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                names = ", ".join(map(repr, choices))
                raise AdapterConfigurationError(f"{name} is one of {names}, not {value!r}")
        for name, (least, kind) in _NUMBERS.items():
            value = getattr(self, name)
            is_number = isinstance(value, kind) and not isinstance(value, bool)
            if value is not getattr(type(self), name) and not (is_number and value >= least):
                raise AdapterConfigurationError(f"{name} is a number from {least}, not {value!r}")
        if self.on_decision is not None and not callable(self.on_decision):
            raise AdapterConfigurationError(f"on_decision is a function, not {self.on_decision!r}")
        if self.outcome_reporting_required and not self.outcome_reporting:
            raise AdapterConfigurationError("outcome_reporting_required needs outcome_reporting")
        if self.signing_key is not None and not self.signing_key:
            raise AdapterConfigurationError("signing_key must not be empty")
        if self.bighub_client is not None and self.bighub is not None:
            raise AdapterConfigurationError(
                "pass bighub_client= or bighub=, which mean the same, not both"
            )
        engine = (self.bighub_client, self.bighub, self.bighub_api_key or None, self.journal)
        own = (*engine, self.telemetry)
        if self.guard is not None and any(value is not None for value in own):
            raise AdapterConfigurationError(
                "guard= brings its own BIGHUB, journal and telemetry: pass only the guard"
            )


# `help(BighubOpenAI)` and editors show the options with the constructor, too.
ClientSettings.__init__.__doc__ = ClientSettings.__doc__

_CHOICES = {
    "decision_mode": ("submit", "submit_payload"),
    "fail_mode": ("closed", "review", "open"),
}
_FLOAT = (int, float)
_NUMBERS: dict[str, tuple[float, Any]] = {
    "max_tool_rounds": (1, int),
    "memory_ingest_timeout_ms": (0, _FLOAT),
    "provider_timeout_seconds": (0.001, _FLOAT),
    "provider_max_retries": (0, int),
    "provider_retry_backoff_seconds": (0, _FLOAT),
    "provider_retry_max_backoff_seconds": (0, _FLOAT),
    "provider_retry_jitter_seconds": (0, _FLOAT),
    "provider_circuit_breaker_failures": (0, int),
    "provider_circuit_breaker_reset_seconds": (0, _FLOAT),
    "evaluate_retries": (0, int),
    "evaluate_timeout": (0.001, _FLOAT),
}
