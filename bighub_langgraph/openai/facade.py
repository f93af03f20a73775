"""What the blocking and the async client share: options, tools, and the surroundings of a run."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from secrets import token_hex
from time import monotonic
from typing import Any, ClassVar
from uuid import uuid4

from bighub_langgraph import __version__
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.core.ports import Journal, Ports
from bighub_langgraph.guard import BighubGuard
from bighub_langgraph.openai.backing import own_backing, shared_backing
from bighub_langgraph.openai.breaker import Breaker
from bighub_langgraph.openai.conversation import NO_REPLY, Ending
from bighub_langgraph.openai.custody import taken_in
from bighub_langgraph.openai.errors import AdapterConfigurationError, StateRefused
from bighub_langgraph.openai.host import Host
from bighub_langgraph.openai.models import Colour, model_client
from bighub_langgraph.openai.provider import Provider
from bighub_langgraph.openai.published import PublishedNames
from bighub_langgraph.openai.requests import input_items, settings_of
from bighub_langgraph.openai.resolution import Resolution
from bighub_langgraph.openai.result import RunResult
from bighub_langgraph.openai.retries import counts_against_service
from bighub_langgraph.openai.running import Runner
from bighub_langgraph.openai.settings import Settings
from bighub_langgraph.openai.state import RunState, fingerprints, read_state, refuse_changed
from bighub_langgraph.openai.talk import Talk
from bighub_langgraph.openai.tools import Tool

__all__ = ["Facade"]

Json = dict[str, Any]


class Facade(PublishedNames):
    """What `BighubOpenAI` and `AsyncBighubOpenAI` have in common."""

    _colour: ClassVar[Colour]

    @abstractmethod
    def _equipped(self) -> tuple[Ports, Runner]:
        """The ports, and a runner of tools with them."""

    @abstractmethod
    async def _notice(self, event: Json, record: CallRecord) -> None:
        """Tell whoever listens of a fresh decision."""

    @abstractmethod
    async def _deliver(self, turn: str) -> None:
        """Start to tell BIGHUB what a turn left to tell."""

    @abstractmethod
    def _deliver_soon(self) -> None:
        """The same for a turn that was stopped; waits for nothing."""

    def __init__(
        self,
        *,
        bighub_api_key: str | None = None,
        actor: str | None = None,
        domain: str | None = None,
        openai_api_key: str | None = None,
        openai_client: Any = None,
        bighub_client: Any = None,
        bighub: Any = None,
        decision_mode: str = "submit",
        decision_objective: str = "better_decision",
        model_selection: str = "auto",
        fail_mode: str = "closed",
        max_tool_rounds: int = 8,
        outcome_reporting: bool = True,
        outcome_reporting_required: bool = False,
        memory_enabled: bool = True,
        memory_source: str = "openai_adapter",
        memory_source_version: str = f"bighub-langgraph@{__version__}",
        memory_ingest_timeout_ms: int = 300,
        on_decision: Callable[[Json], Any] | None = None,
        session_id: str | None = None,
        provider_timeout_seconds: float = 30.0,
        provider_max_retries: int = 2,
        provider_retry_backoff_seconds: float = 0.25,
        provider_retry_max_backoff_seconds: float = 2.0,
        provider_retry_jitter_seconds: float = 0.1,
        provider_circuit_breaker_failures: int = 0,
        provider_circuit_breaker_reset_seconds: float = 30.0,
        evaluate_retries: int = 2,
        guard: BighubGuard | None = None,
        journal: Journal | str | None = None,
        signing_key: str | bytes | None = None,
    ) -> None:
        """Make a client.

        Args:
            bighub_api_key: Key of BIGHUB's service; BIGHUB_API_KEY by default.
            actor: Who acts, in BIGHUB's eyes.
            domain: The domain of the actions.
            openai_api_key: Key of the model's service; OPENAI_API_KEY by default.
            openai_client: A client instead: OpenAI's, or anything with its `responses.create`.
            bighub_client: A client of BIGHUB's SDK of either colour, or anything like it.
            bighub: The same; also "local" for the embedded engine, a database's URL, an https URL.
            decision_mode: "submit" or "submit_payload".
            decision_objective: What BIGHUB is asked to decide for.
            model_selection: Which of its models BIGHUB is to use.
            fail_mode: While BIGHUB is away: "closed" blocks, "review" asks, "open" executes.
            max_tool_rounds: How many rounds of tools a run may have.
            outcome_reporting: Whether outcomes are reported.
            outcome_reporting_required: Refuses a client that reports none. What is reported is kept
                until it arrives, and a run whose tools have run raises nothing for it.
            memory_enabled: Whether tool rounds are told to BIGHUB's memory.
            memory_source: Under which name they are.
            memory_source_version: And which version.
            memory_ingest_timeout_ms: How long a run waits at its end until BIGHUB is told; what
                takes longer follows in the background and at `close`.
            on_decision: Called with the event of each call that BIGHUB decided.
            session_id: Names this client's session in BIGHUB's trajectories.
            provider_timeout_seconds: How long the model's service may take.
            provider_max_retries: How often it is asked again, by the SDK.
            provider_retry_backoff_seconds: First wait, for clients that do not retry themselves.
            provider_retry_max_backoff_seconds: Longest wait.
            provider_retry_jitter_seconds: How far waits are spread.
            provider_circuit_breaker_failures: After so many faults in a row the service is left
                alone; 0 never does.
            provider_circuit_breaker_reset_seconds: For how long.
            evaluate_retries: How often BIGHUB is asked again.
            guard: A `BighubGuard` to share: its engine, journal, policies and rules.
            journal: A `Journal` or its URL: stopped runs go on in other processes, once.
            signing_key: Signs stored runs, and refuses those that are not signed with it.
        """
        self.settings = Settings(
            decision_mode=decision_mode,
            decision_objective=decision_objective,
            model_selection=model_selection,
            fail_mode=fail_mode,
            max_tool_rounds=max_tool_rounds,
            outcome_reporting=outcome_reporting,
            outcome_reporting_required=outcome_reporting_required,
            memory_enabled=memory_enabled,
            memory_source=memory_source,
            memory_source_version=memory_source_version,
            memory_ingest_timeout_ms=memory_ingest_timeout_ms,
            on_decision=on_decision,
            provider_timeout_seconds=provider_timeout_seconds,
            provider_max_retries=provider_max_retries,
            provider_retry_backoff_seconds=provider_retry_backoff_seconds,
            provider_retry_max_backoff_seconds=provider_retry_max_backoff_seconds,
            provider_retry_jitter_seconds=provider_retry_jitter_seconds,
            provider_circuit_breaker_failures=provider_circuit_breaker_failures,
            provider_circuit_breaker_reset_seconds=provider_circuit_breaker_reset_seconds,
            evaluate_retries=evaluate_retries,
            signing_key=signing_key,
        )
        super().__init__()
        self.session_id = session_id or str(uuid4())
        self._openai, self._own_openai = model_client(self._colour, openai_client, openai_api_key)
        if bighub_client is not None and bighub is not None:
            raise AdapterConfigurationError(
                "pass bighub_client= or bighub=, which mean the same, not both"
            )
        engine = bighub if bighub_client is None else bighub_client
        if guard is None:
            self._backing = own_backing(
                self.settings,
                bighub=engine,
                api_key=bighub_api_key,
                journal=journal,
                actor=actor or "AI_AGENT",
                domain=domain or "it_actions",
            )
        elif engine is not None or bighub_api_key or journal is not None:
            raise AdapterConfigurationError(
                "guard= brings its own BIGHUB and journal: pass only the guard"
            )
        else:
            self._backing = shared_backing(self.settings, guard, actor=actor, domain=domain)
        self._provider = self._connected()
        self._equipment = self._equipped()

    @property
    def actor(self) -> str:
        """Who acts, in BIGHUB's eyes."""
        return self._backing.runtime.settings.actor

    @property
    def domain(self) -> str | None:
        """The domain of the actions."""
        return self._backing.runtime.settings.domain

    def state_from_json(self, blob: Any) -> RunState:
        """Take up a run that `to_json` stored, here or in another process.

        Refused are: what is not such a run, a newer one, one whose tools have changed, one whose
        calls are not those that the journal holds, and with `signing_key=` one that is not signed
        with it.
        """
        stored = read_state(blob, self._tools, self.settings.key)
        rules = self._tools.merge_policies(self._backing.runtime.settings)
        talk = run_sync(taken_in(stored, rules, self._backing.runtime.ports, self.session_id))
        return self._state(Ending(talk, stored.reply, "interrupted"))

    @property
    def _listened_to(self) -> bool:
        return (
            self.settings.on_decision is not None
            or self._backing.guard.runtime.has_decision_callback
        )

    @property
    def _bighub(self) -> Any:
        """The client of BIGHUB's SDK; the published adapter keeps it under this name."""
        return self._backing.guard.client

    def _registered(self, name: str) -> Tool:
        try:
            return self._tools[name]
        except InvalidCall as error:
            raise AdapterConfigurationError(str(error)) from error

    def _resolution(
        self,
        tool_name: str,
        arguments: Mapping[str, Any],
        request_id: str,
        resolution: str,
        comment: str | None,
    ) -> Resolution:
        checked = self._registered(tool_name).parameters.check(arguments)
        return Resolution(tool_name, checked, request_id, resolution, comment)

    def _connected(self) -> Provider:
        settings = self.settings
        breaker = Breaker(
            failures=settings.provider_circuit_breaker_failures,
            reset=settings.provider_circuit_breaker_reset_seconds,
            counts=counts_against_service,
            clock=monotonic,
        )
        service = self._colour.service(
            self._openai, timeout=settings.provider_timeout_seconds, retry=settings.retry
        )
        return Provider(service, breaker)

    def _begun(
        self,
        messages: Any,
        model: str,
        instructions: str | None,
        temperature: float | None,
        extra: Mapping[str, Any] | None,
    ) -> Talk:
        settings = settings_of(model, instructions, temperature, extra)
        if not self._tools and not settings.get("tools"):
            raise AdapterConfigurationError("no tools are registered: call tool(name, fn) first")
        items = input_items(messages)
        return Talk(token_hex(16), settings=settings, items=items, fresh=items, usage={}, always={})

    def _surroundings(self) -> Host:
        """What the conversation needs."""
        ports, runner = self._equipment
        return Host(
            provider=self._provider,
            tools=self._tools,
            rules=self._tools.merge_policies(self._backing.runtime.settings),
            ports=ports,
            runner=runner,
            session=self.session_id,
            most_rounds=self.settings.max_tool_rounds,
            notice=self._notice if self._listened_to else None,
            deliver=self._deliver,
            deliver_soon=self._deliver_soon,
            state=lambda talk: self._state(Ending(talk, NO_REPLY, "failed")),
        )

    def _state(self, ending: Ending, asked: Mapping[str, str] | None = None) -> RunState:
        return RunState(
            ending.talk,
            ending.reply,
            self._tools,
            clock=self._backing.runtime.ports.clock,
            fingerprints=self._fingerprints(ending) if asked is None else asked,
            signing_key=self.settings.key,
        )

    def _fingerprints(self, ending: Ending) -> dict[str, str]:
        pending = ending.talk.pending
        return fingerprints(pending, self._tools) if pending else {}

    def _result(self, ending: Ending) -> RunResult:
        # Taken now: a tool that is registered anew before `to_state` is not the one asked about.
        asked = self._fingerprints(ending)
        return RunResult(ending, lambda: self._state(ending, asked))

    def _resumable(self, state: RunState) -> Talk:
        if not isinstance(state, RunState):
            raise StateRefused(
                f"resume a RunState, such as state_from_json gives, not {state!r:.80}"
            )
        if not state.talk.open and not state.talk.fresh:
            raise StateRefused("this run has ended; there is nothing to go on with")
        refuse_changed(state.talk, state.fingerprints, self._tools)
        return state.talk
