"""BIGHUB's side of a client: a runtime of its own, or one that shares a guard's."""

from dataclasses import dataclass, replace
from typing import Any

from bighub_langgraph.bighub.client_factory import open_clients
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import Journal
from bighub_langgraph.guard import BighubGuard
from bighub_langgraph.guard_runtime import GuardRuntime
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.settings import Settings

__all__ = ["Backing", "own_backing", "shared_backing"]


@dataclass(frozen=True, slots=True)
class Backing:
    """The guard behind a client, and the runtime with the client's own settings.

    Attributes:
        opened: What was opened here, and is closed here, in this order.
    """

    guard: BighubGuard
    runtime: GuardRuntime
    opened: tuple[Any, ...]

    def close(self) -> None:
        """Deliver pending reports for a few seconds, and close what was opened here."""
        self.runtime.delivery.close()
        for resource in self.opened:
            resource.close()


def own_backing(
    settings: Settings,
    *,
    bighub: Any,
    api_key: str | None,
    journal: Journal | str | None,
    actor: str,
    domain: str,
) -> Backing:
    """Open or take the user's clients, and guard with them."""
    try:
        clients = open_clients(bighub, api_key=api_key, retries=settings.evaluate_retries)
        both = [client for client in (clients.blocking, clients.asynchronous) if client is not None]
        guard = BighubGuard(
            bighub=both[0] if len(both) == 1 else tuple(both),
            actor=actor,
            domain=domain,
            journal=journal,
            fail_mode=settings.fail_mode,
            decision_mode=settings.decision_mode,  # type: ignore[arg-type]  # checked by Settings
            retries=settings.evaluate_retries,
        )
    except ConfigurationError as error:
        raise AdapterConfigurationError(str(error)) from error
    runtime = _runtime(settings, guard.runtime, guard.runtime.settings)
    return Backing(guard, runtime, (guard, clients))


def shared_backing(
    settings: Settings, guard: BighubGuard, *, actor: str | None, domain: str | None
) -> Backing:
    """Share a guard's clients, journal, settings and policies."""
    shared = guard.runtime.settings
    for name, default in (("fail_mode", "closed"), ("decision_mode", "submit")):
        value, theirs = getattr(settings, name), str(getattr(shared, name))
        if value not in {default, theirs}:
            raise AdapterConfigurationError(
                f"guard= has {name}={theirs!r}: set {name} there, and not {value!r} here"
            )
    own = replace(shared, actor=actor or shared.actor, domain=domain or shared.domain)
    return Backing(guard, _runtime(settings, guard.runtime, own), ())


def _runtime(settings: Settings, runtime: GuardRuntime, guarded: GuardSettings) -> GuardRuntime:
    reporting = runtime.ports.reporting
    return runtime.derive(
        replace(
            guarded,
            objective=settings.decision_objective,
            model_selection=settings.model_selection,
        ),
        replace(
            reporting,
            outcomes=reporting.outcomes and settings.outcome_reporting,
            memory=reporting.memory and settings.memory_enabled,
            source=settings.memory_source,
            source_version=settings.memory_source_version,
        ),
    )
