"""The examples of the page about graphs, and the agent that LangGraph Studio opens."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph.state import CompiledStateGraph

from tests.documents import ROOT, run_page

KNOWN_KEYS = {"$schema", "dependencies", "graphs", "env", "python_version", "store", "checkpointer"}


def test_the_examples_of_the_page_run_and_print_what_it_shows() -> None:
    run_page(ROOT / "docs" / "graphs.md")


@pytest.fixture
def settings() -> dict[str, Any]:
    matches: dict[str, Any] = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
    return matches


def test_langgraph_json_has_the_form_a_server_reads(settings: dict[str, Any]) -> None:
    assert settings.keys() <= KNOWN_KEYS
    assert settings["dependencies"] == ["."]
    assert settings["python_version"] in {"3.11", "3.12", "3.13"}
    for graph in settings["graphs"].values():
        path, _, variable = graph["path"].partition(":")
        assert (ROOT / path).is_file()
        assert variable.isidentifier()


def test_studio_opens_the_demo_agent(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGHUB_JOURNAL", f"sqlite:///{tmp_path / 'calls.db'}")
    path, _, variable = settings["graphs"]["desk"]["path"].partition(":")
    module = runpy.run_path(str(ROOT / path))
    graph = module[variable]
    assert isinstance(graph, CompiledStateGraph)
    assert set(graph.get_input_jsonschema()["properties"]) == {"messages"}
    state = graph.invoke({"messages": [HumanMessage("I sent O-1003 back, refund all of it now!!")]})
    assert state["messages"][-1].text
    module["guard"].close()
    module["guard"].journal.close()


def test_the_page_names_every_way_in() -> None:
    text = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
    for name in ("create_guarded_agent", "add_guard", "BighubMiddleware", "wrap_tool_call"):
        assert name in text
