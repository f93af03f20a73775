"""Recordings in four formats become proposed calls and known outcomes, in time order."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.cli.replay.formats import Format, detect_format, read_steps
from bighub_langgraph.cli.replay.recording import InvalidEntry, OutcomeKnown, RecordedCall

WORDS = [
    *("calls", "messages", "input", "output", "role", "type", "tool", "arguments", "name", "id"),
    *("traj", "info", "task", "actions", "kwargs", "task_id"),
    *("call_id", "tool_calls", "tool_call_id", "function", "content", "error", "as_intended"),
]


def steps_of(text: str, file_format: Format | None = None) -> list[str]:
    """The steps of a text, one short line each."""
    return [_line(step) for step in read_steps(text, name="run", file_format=file_format)]


def _line(step: RecordedCall | OutcomeKnown | InvalidEntry) -> str:
    match step:
        case RecordedCall() as call:
            return f"{call.trajectory}#{call.index} {call.tool} {json.dumps(call.arguments)}"
        case OutcomeKnown(call, status):
            return f"{call.trajectory}#{call.index} {status}"
        case InvalidEntry(line, reason):
            return f"line {line}: {reason}"


def entry(tool: str, **labels: Any) -> dict[str, Any]:
    return {"tool": tool, "arguments": {}, **labels}


def trajectory(*calls: dict[str, Any]) -> str:
    return json.dumps({"trajectory_id": "t", "calls": list(calls)})


def chat_call(call_id: str, tool: str, arguments: str = "{}") -> dict[str, Any]:
    function = {"name": tool, "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": call_id, "function": function}]}


def chat_result(call_id: str, content: Any, **labels: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **labels}


def function_call(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def function_output(call_id: str, text: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def test_whether_a_call_was_intended_is_known_when_the_trajectory_is_over() -> None:
    text = trajectory(
        entry("cancel", state_changing=True, error=False, as_intended=False),
        entry("refund", state_changing=True, error=False, as_intended=True),
    )
    assert steps_of(text) == ["t#0 cancel {}", "t#1 refund {}", "t#0 ROLLBACK", "t#1 SUCCESS"]


def test_an_error_is_known_at_once() -> None:
    text = trajectory(entry("cancel", error=True, as_intended=False), entry("look", error=False))
    assert steps_of(text) == ["t#0 cancel {}", "t#0 FAILURE", "t#1 look {}", "t#1 SUCCESS"]


def tau_bench(*messages: dict[str, Any], references: Any = (), **fields: Any) -> str:
    result = {"task_id": 3, "trial": 1, "reward": 0.0, "traj": list(messages), **fields}
    return json.dumps([{"info": {"task": {"actions": list(references)}}, **result}], indent=1)


def test_a_result_of_tau_bench_is_labelled_by_its_reference_calls() -> None:
    text = tau_bench(
        {"role": "system", "content": "You work for an airline."},
        chat_call("c", "get_user_details", '{"user_id": "ada"}'),
        chat_result("c", "{}"),
        chat_call("c", "cancel_reservation", '{"reservation_id": "A"}'),
        chat_result("c", "cancelled"),
        chat_call("d", "cancel_reservation", '{"reservation_id": "B"}'),
        chat_result("d", "cancelled"),
        chat_call("e", "update_reservation_baggages", '{"total": 9}'),
        chat_result("e", "Error: too many"),
        references=[{"name": "cancel_reservation", "kwargs": {"reservation_id": "A"}}],
    )
    assert steps_of(text) == [
        'task-3-1#0 get_user_details {"user_id": "ada"}',
        "task-3-1#0 SUCCESS",
        'task-3-1#1 cancel_reservation {"reservation_id": "A"}',
        'task-3-1#2 cancel_reservation {"reservation_id": "B"}',
        'task-3-1#3 update_reservation_baggages {"total": 9}',
        "task-3-1#3 FAILURE",
        "task-3-1#1 SUCCESS",
        "task-3-1#2 ROLLBACK",
    ]
    calls = [step for step in read_steps(text, name="run") if isinstance(step, RecordedCall)]
    assert [call.state_changing for call in calls] == [False, True, True, True]


def test_a_result_of_tau_bench_without_a_task_has_no_label() -> None:
    call, result = chat_call("c", "cancel_reservation"), chat_result("c", "cancelled")
    text = json.dumps({"traj": [call, result]})
    assert detect_format(json.loads(text)) is Format.TAU_BENCH
    assert steps_of(text) == ["run-1#0 cancel_reservation {}", "run-1#0 SUCCESS"]


def test_a_call_without_labels_has_no_outcome() -> None:
    assert steps_of(trajectory(entry("cancel"))) == ["t#0 cancel {}"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("cancel", "call 1: not an object"),
        ({"arguments": {}}, 'call 1: "tool" must be the name of a tool'),
        ({"tool": "a", "arguments": "{}"}, 'call 1: "arguments" must be an object'),
        (entry("a", error="yes"), 'call 1: "error" must be true, false or null'),
    ],
)
def test_a_broken_entry_is_named_and_the_next_one_is_read(broken: Any, reason: str) -> None:
    assert steps_of(trajectory(broken, entry("b"))) == [f"line 1: {reason}", "t#0 b {}"]


def test_chat_calls_are_completed_by_their_tool_messages() -> None:
    messages = [
        {"role": "user", "content": "cancel both"},
        chat_call("1", "cancel", '{"order_id": "A"}'),
        chat_call("2", "cancel", '{"order_id": "B"}'),
        chat_result("2", "Error: shipped"),
        chat_result("1", "cancelled"),
    ]
    assert steps_of(json.dumps({"id": "chat", "messages": messages})) == [
        'chat#0 cancel {"order_id": "A"}',
        'chat#1 cancel {"order_id": "B"}',
        "chat#1 FAILURE",
        "chat#0 SUCCESS",
    ]


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (chat_result("1", "fine"), "SUCCESS"),
        (chat_result("1", "Error: no"), "FAILURE"),
        (chat_result("1", '{"error": "no"}'), "FAILURE"),
        (chat_result("1", '{"error": null}'), "SUCCESS"),
        (chat_result("1", [{"type": "text", "text": "error: no"}]), "FAILURE"),
        (chat_result("1", "no", status="error"), "FAILURE"),
        (chat_result("1", "Errors were fixed", error=False), "SUCCESS"),
        (chat_result("1", "fine", as_intended=False), "ROLLBACK"),
    ],
)
def test_how_a_result_shows_that_a_call_failed(result: dict[str, Any], status: str) -> None:
    assert steps_of(json.dumps([chat_call("1", "pay"), result]))[1:] == [f"run-1#0 {status}"]


def test_messages_one_a_line_are_one_conversation() -> None:
    lines = [
        json.dumps(chat_call("1", "a")),
        json.dumps(chat_result("1", "ok")),
        json.dumps(chat_call("2", "b")),
    ]
    assert steps_of("\n".join(lines)) == ["run-1#0 a {}", "run-1#0 SUCCESS", "run-1#1 b {}"]


def test_conversations_one_a_line_are_numbered() -> None:
    text = "\n".join(json.dumps([chat_call("1", tool)]) for tool in ("a", "b"))
    assert steps_of(text) == ["run-1#0 a {}", "run-2#0 b {}"]


def test_a_document_may_list_conversations() -> None:
    text = json.dumps(
        [{"messages": [chat_call("1", "a")]}, {"messages": [chat_call("1", "b")]}], indent=2
    )
    assert steps_of(text) == ["run-1#0 a {}", "run-2#0 b {}"]


@pytest.mark.parametrize(
    "record",
    [
        [function_call("1", "pay"), function_output("1", "ok")],
        {"output": [function_call("1", "pay"), function_output("1", "ok")]},
        {"input": [function_call("1", "pay"), function_output("1", "ok")]},
        {"output": [function_output("1", "ok")], "input": [function_call("1", "pay")]},
    ],
)
def test_responses_items_are_read_wherever_they_stand(record: Any) -> None:
    assert steps_of(json.dumps(record)) == ["run-1#0 pay {}", "run-1#0 SUCCESS"]


@pytest.mark.parametrize("arguments", ["{", "[]", '{"amount": NaN}', '"text"'])
def test_arguments_that_are_no_object_are_reported_and_the_rest_is_read(arguments: str) -> None:
    first, second = steps_of(
        json.dumps([function_call("1", "pay", arguments), function_call("2", "look")])
    )
    assert first.startswith("line 1: call 1: arguments of pay: ")
    assert second == "run-1#0 look {}"


def test_two_calls_with_one_id_are_completed_in_order() -> None:
    items = [
        function_call("1", "a"),
        function_call("1", "b"),
        function_output("1", "ok"),
        function_output("1", "Error"),
    ]
    assert steps_of(json.dumps(items))[2:] == ["run-1#0 SUCCESS", "run-1#1 FAILURE"]


def test_a_result_without_a_call_is_ignored() -> None:
    assert steps_of(json.dumps([function_output("9", "ok"), function_call("1", "a")])) == [
        "run-1#0 a {}"
    ]


def test_a_bad_line_is_reported_with_its_number_and_the_others_are_read() -> None:
    text = f"{trajectory(entry('a'))}\n\n{{oops\n42\n{trajectory(entry('b'))}\n"
    assert steps_of(text) == [
        "t#0 a {}",
        "line 3: not JSON: Expecting property name enclosed in double quotes at column 2",
        "line 4: none of the formats compact, chat, responses, tau-bench",
        "t#0 b {}",
    ]


def test_a_broken_document_is_reported_once_where_it_breaks() -> None:
    text = json.dumps({"messages": [{"role": "user", "content": "a"}]}, indent=2)[:-5]
    (line,) = steps_of(text)
    assert line.startswith("line 7: not JSON: ")


def test_an_invalid_entry_in_a_listed_conversation_is_reported_at_the_line_it_begins_on() -> None:
    conversations = [{"calls": [entry("a")]}, {"calls": [{"tool": ""}]}]
    lines = steps_of("[\n" + ",\n".join(json.dumps(record) for record in conversations) + "\n]")
    assert lines[-1].startswith("line 3: call 1: ")


def test_a_line_separator_within_a_string_splits_no_line() -> None:
    text = "\n".join(
        json.dumps([chat_call("1", "say", '{"text": "a\u2028b"}')], ensure_ascii=False)
        for _ in range(2)
    )
    assert [line[:9] for line in steps_of(text)] == ["run-1#0 s", "run-2#0 s"]


def test_deep_nesting_is_a_bad_line_and_no_crash() -> None:
    lines = steps_of(f"{trajectory(entry('a'))}\n{'[' * 200_000}")
    assert lines[0] == "t#0 a {}"
    assert lines[1].startswith("line 2: not JSON: ")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=25,
)


@given(st.lists(json_values, max_size=4), st.sampled_from([None, *Format]), st.sampled_from("\n,"))
def test_whatever_json_a_file_holds_is_read_or_reported(
    values: list[Any], file_format: Format | None, separator: str
) -> None:
    steps_of(separator.join(map(json.dumps, values)), file_format)
    steps_of(json.dumps(values), file_format)


@given(st.text())
def test_whatever_text_a_file_holds_is_read_or_reported(text: str) -> None:
    steps_of(text)


def test_a_given_format_is_not_detected() -> None:
    assert detect_format({"calls": []}) is Format.COMPACT
    assert steps_of('{"calls": []}', Format.CHAT) == [
        'line 1: expected a list, alone or under "messages", "input", "output" or "traj"'
    ]
