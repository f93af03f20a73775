"""What LangChain's callbacks, and so LangSmith, are shown of a guarded call."""

from langchain_core.runnables import RunnableConfig

from bighub_langgraph.core.context import current_record
from bighub_langgraph.telemetry_attributes import (
    approval_attributes,
    decision_attributes,
    verdict_attributes,
)


def with_decision(config: RunnableConfig | None, tool: str) -> RunnableConfig | None:
    """Return the configuration for the run of a tool, with the decision as metadata and tags.

    It is unchanged where the guarded call that this code runs in is not one of this tool.
    """
    record = current_record()
    if record is None or record.tool != tool:
        return config
    fields = {
        **decision_attributes(record.decision),
        **verdict_attributes(record),
        **approval_attributes(record),
    }
    tags = [
        f"bighub:{fields[name]}"
        for name in ("bighub.recommendation", "bighub.approval.state")
        if name in fields
    ]
    base: RunnableConfig = config or {}
    metadata = {**(base.get("metadata") or {}), "bighub.call.key": record.key, **fields}
    return {**base, "tags": [*(base.get("tags") or []), *tags], "metadata": metadata}
