"""BIGHUB, journal and courier behind a client: its own, or those of a guard it shares."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bighub_langgraph.bighub.client_factory import EngineClients, is_async_client, open_clients
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import Journal, Ports
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.delivery_worker import DeliveryWorker
from bighub_langgraph.guard import BighubGuard
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.settings import Settings

__all__ = ["Backing", "own_backing", "shared_backing"]


@dataclass(frozen=True, slots=True)
class Backing:
    """Everything of BIGHUB's side.

    Attributes:
        opened: What was opened here, and so is closed here, in this order.
        on_loop: Whether BIGHUB's client belongs to a running event loop.
    """

    guard: BighubGuard
    rules: GuardSettings
    ports: Ports
    aports: Ports
    courier: DeliveryWorker
    opened: tuple[Any, ...]
    on_loop: bool

    @property
    def client(self) -> Any:
        """The client of BIGHUB's SDK, for what only it can do."""
        return self.guard.client

    def telling(self, about: Mapping[str, Any]) -> tuple[Ports, Ports]:
        """Both ports, for calls of which BIGHUB's memory is told so much more."""
        telling = replace(self.ports.telling, about=about)
        return replace(self.ports, telling=telling), replace(self.aports, telling=telling)

    def close(self) -> None:
        """Tell what waits, for a few seconds, and close what was opened here."""
        self.courier.close()
        for one in self.opened:
            one.close()


def own_backing(
    settings: Settings,
    *,
    bighub: Any,
    api_key: str | None,
    journal: Journal | str | None,
    actor: str,
    domain: str,
) -> Backing:
    """Open or take the clients that the user means, and guard with them."""
    try:
        found = open_clients(bighub, api_key=api_key, retries=settings.evaluate_retries)
        both = [one for one in (found.blocking, found.asynchronous) if one is not None]
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
    telling = replace(
        guard.ports.telling, outcomes=settings.outcome_reporting, memory=settings.memory_enabled
    )
    backing = _backing(settings, guard, telling, (guard, found), on_loop=found.blocking is None)
    guard.courier = backing.courier  # the guard is ours: one outbox, one courier
    return backing


def shared_backing(
    settings: Settings, guard: BighubGuard, *, actor: str | None, domain: str | None
) -> Backing:
    """Lean on a guard that others use too: its clients, journal, rules and policies."""
    _refuse_contradictions(settings, guard.rules)
    theirs = guard.ports.telling
    telling = replace(
        theirs,
        outcomes=theirs.outcomes and settings.outcome_reporting,
        memory=theirs.memory and settings.memory_enabled,
    )
    backing = _backing(settings, guard, telling, (), on_loop=is_async_client(guard.client))
    own = replace(
        backing.rules, actor=actor or guard.rules.actor, domain=domain or guard.rules.domain
    )
    return replace(backing, rules=own)


def _refuse_contradictions(settings: Settings, rules: GuardSettings) -> None:
    """Refuse what only the guard can say; a default cannot be told from nothing said."""
    for name, default in (("fail_mode", "closed"), ("decision_mode", "submit")):
        said, theirs = getattr(settings, name), str(getattr(rules, name))
        if said not in {default, theirs}:
            raise AdapterConfigurationError(
                f"guard= has {name}={theirs!r}: set {name} there, and not {said!r} here"
            )


def _backing(
    settings: Settings,
    guard: BighubGuard,
    telling: ReportingConfig,
    opened: tuple[BighubGuard | EngineClients, ...],
    *,
    on_loop: bool,
) -> Backing:
    telling = replace(
        telling, source=settings.memory_source, source_version=settings.memory_source_version
    )
    ports, aports = replace(guard.ports, telling=telling), replace(guard.aports, telling=telling)
    rules = replace(
        guard.rules,
        objective=settings.decision_objective,
        model_selection=settings.model_selection,
    )
    courier = DeliveryWorker(ports, aports, on_loop=on_loop)
    return Backing(guard, rules, ports, aports, courier, opened, on_loop)
