"""Half a surrogate pair, which no request can hold, is mended or refused before one is sent."""

import json
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

from bighub_langgraph import BighubGuard, BighubOpenAI, ToolPolicy
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.policy import GuardSettings
from tests.engines import ScriptedBighub
from tests.openai_answers import says
from tests.openai_runtime import runtime
from tests.openai_server import ResponsesServer
from tests.test_openai_tool_calls import find_halves

HALF = "half \ud83d of a pair"


def half_in_literal(word: Literal["a", "\ud83d"]) -> str:
    return word


class HalfWord(Enum):
    HALF = "\ud83d"


def half_in_enum(word: HalfWord) -> str:
    return word.value


@pytest.mark.parametrize("fn", [half_in_literal, half_in_enum])
def test_half_a_surrogate_that_a_call_would_have_to_hold_is_refused_at_registration(
    server: ResponsesServer, fn: Callable[..., str]
) -> None:
    with (
        runtime("blocking", server) as client,
        pytest.raises(ConfigurationError, match="cannot fill in parameter 'word'"),
    ):
        client.tool("look", fn)


class DescribedModel(BaseModel):
    """A thing."""

    word: str = Field(description=HALF, title=HALF)


def tool_with_descriptions(
    first: Annotated[str, HALF],
    second: Annotated[str, Field(description=HALF)],
    third: DescribedModel,
    fourth: str = HALF,
) -> str:
    return first


@pytest.mark.parametrize("strict", [True, False])
def test_half_a_surrogate_in_a_description_is_mended(server: ResponsesServer, strict: bool) -> None:
    server.script(says("Done."))
    with runtime("blocking", server) as client:
        client.tool("look", tool_with_descriptions, description=HALF, strict=strict)
        assert client.run(messages="please").status == "completed"
    assert find_halves(server.requests) == []
    assert "half ? of a pair" in json.dumps(server.requests[0]["tools"])


def build(kind: Callable[..., Any], *names: str, **options: Any) -> list[Callable[[], Any]]:
    return [partial(kind, **options, **{name: HALF}) for name in names]


@pytest.mark.parametrize(
    "make",
    [
        *build(GuardSettings, "name", "actor", "domain", "objective", "model_selection"),
        *build(ToolPolicy, "action_name", "actor", "domain"),
        *build(BighubGuard, "actor", "domain", bighub=ScriptedBighub()),
        *build(
            BighubOpenAI,
            "actor",
            "domain",
            bighub=ScriptedBighub(),
            openai_client=openai.OpenAI(api_key="key"),
        ),
    ],
)
def test_half_a_surrogate_in_a_setting_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match="has half a surrogate pair"):
        make()
