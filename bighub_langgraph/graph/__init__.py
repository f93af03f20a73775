"""LangGraph: nodes, the ready graph, `add_guard`, guarded tools.

Importing it lets journals store outputs of LangGraph's tools that are not JSON, such as `Command`.
"""

from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from bighub_langgraph.journal.result_codecs import ResultCodec, register_codec


def _dump(value: Any) -> bytes:
    kind, data = JsonPlusSerializer().dumps_typed(value)
    return kind.encode() + b":" + data


def _load(data: bytes) -> Any:
    kind, _, rest = data.partition(b":")
    return JsonPlusSerializer().loads_typed((kind.decode(), rest))


register_codec("langgraph", ResultCodec(_dump, _load))
