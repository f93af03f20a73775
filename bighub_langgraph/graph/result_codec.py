"""How the journal stores outputs of LangGraph's tools that are not JSON, such as `Command`."""

from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from bighub_langgraph.journal.row_mapping import register_codec


class LangGraphCodec:
    """Stores values with LangGraph's serializer, and the name of their type in front."""

    def dumps(self, value: Any) -> bytes:
        """Return the value as bytes, or raise."""
        kind, data = JsonPlusSerializer().dumps_typed(value)
        return kind.encode() + b":" + data

    def loads(self, data: bytes) -> Any:
        """Return the value of these bytes."""
        kind, _, rest = data.partition(b":")
        return JsonPlusSerializer().loads_typed((kind.decode(), rest))


register_codec("langgraph", LangGraphCodec())
