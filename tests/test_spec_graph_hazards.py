"""What must not happen to a call, whatever happens to the graph: real checkpoints, real processes.

Executions are counted by lines in a file outside of the graph.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from bighub_langgraph.core.errors import RunInProgress
from tests.agents import YES, answers
from tests.graph_worker import ALL_HOSTS, CONFIG, HOSTS, NOTE, REFUND, Files, Trace

NO = {"type": "reject", "message": "no"}

Make = Callable[..., Files]


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    results: str = request.param
    return results


@pytest.fixture
def make(tmp_path: Path, host: str) -> Iterator[Make]:
    """Agents on the same files, each as if in a process of its own."""
    files_list: list[Files] = []

    def open_files(*calls: dict[str, Any], **options: Any) -> Files:
        files_list.append(Files(tmp_path, host, *calls, **options))
        return files_list[-1]

    yield open_files
    for files in files_list:
        files.close()


def process(directory: Path, host: str, answer: Any) -> "subprocess.Popen[str]":
    """A run in a process of its own that answers what the thread asks."""
    worker = ["tests.graph_worker", str(directory), host, json.dumps(answer)]
    return subprocess.Popen(
        [sys.executable, "-m", *worker],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )


def test_a_no_stays_a_no_when_bighub_changes_its_mind(make: Make) -> None:
    files = make()
    files.start()
    pending_config = files.graph.get_state(CONFIG).config
    files.answer(NO)
    files.bighub.response = "proceed"
    again = make(says="proceed")
    again.answer(YES, config=pending_config)
    assert files.trace.count("refund 40") == 0


def test_the_decision_is_made_once_however_often_the_thread_is_resumed(make: Make) -> None:
    files = make()
    files.start()
    pending_config = files.graph.get_state(CONFIG).config
    for _ in range(3):
        files.answer(YES, config=pending_config)
    assert len(files.bighub.evaluations) == 1
    assert files.trace.count("refund 40") == 1


def test_two_threads_that_resume_run_the_call_once(make: Make) -> None:
    first, second = make(), make()
    first.start()
    first.trace.request_fault("take a moment")
    both = Barrier(2)

    def resume(files: Files) -> str:
        both.wait()
        try:
            return answers(files.answer(YES))["call-1"]
        except RunInProgress:  # the other one was faster
            return "in progress"

    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(resume, [first, second]))
    assert first.trace.count("refund 40") == 1
    assert "refunded 40" in texts
    assert set(texts) <= {"refunded 40", "in progress"}
    assert first.trace.count("model") == 2


def test_two_processes_that_resume_run_the_call_once(tmp_path: Path, host: str, make: Make) -> None:
    trace = asked_in_another_life(make)
    trace.request_fault("take a moment")
    yes = {"decisions": [YES]}
    runs = [process(tmp_path, host, yes), process(tmp_path, host, yes)]
    ends = [(*run.communicate(timeout=60), run.returncode) for run in runs]
    assert "Done." in [out for out, _, _ in ends]
    assert all(code == 0 or "RunInProgress" in errors for _, errors, code in ends), ends
    assert trace.count("refund 40") == 1
    assert trace.count("model") == 2


def asked_in_another_life(make: Make) -> Trace:
    """A person was asked by a run that is over."""
    files = make()
    assert "__interrupt__" in files.start()
    files.close()
    return files.trace


def killed_in_the_tool(directory: Path, host: str, make: Make) -> Trace:
    trace = asked_in_another_life(make)
    trace.request_fault("die in the tool")
    run = process(directory, host, {"decisions": [YES]})
    run.communicate(timeout=60)
    assert run.returncode == -9
    assert trace.count("refund 40") == 1
    return trace


@pytest.mark.parametrize("host", ALL_HOSTS, indirect=True)
def test_a_call_whose_process_was_killed_is_not_run_again_but_asked_about(
    tmp_path: Path, host: str, make: Make
) -> None:
    trace = killed_in_the_tool(tmp_path, host, make)
    files = make()
    [question] = files.run(None)["__interrupt__"]
    [request] = question.value["action_requests"]
    assert "whether it took effect is not known" in request["description"]
    assert request["bighub"]["state"] == "unknown"
    state = files.answer({"type": "respond", "message": "refunded, says the bank"})
    assert answers(state)["call-1"] == "refunded, says the bank"
    assert trace.count("refund 40") == 1


def test_a_person_may_have_it_run_again(tmp_path: Path, host: str, make: Make) -> None:
    trace = killed_in_the_tool(tmp_path, host, make)
    files = make()
    files.run(None)
    state = files.answer({"type": "run_again"})
    assert answers(state)["call-1"] == "refunded 40"
    assert trace.count("refund 40") == 2
    assert trace.count("model") == 2


@pytest.mark.parametrize("host", ALL_HOSTS, indirect=True)
def test_the_yes_that_a_call_ran_on_does_not_run_it_again_after_a_crash(
    tmp_path: Path, host: str, make: Make
) -> None:
    trace = killed_in_the_tool(tmp_path, host, make)
    files = make()
    [question] = files.answer(YES)["__interrupt__"]  # nobody has seen this question yet
    assert "whether it took effect is not known" in str(question.value)
    for _ in range(2):
        with suppress(ValueError):  # in an agent's tool LangGraph refuses the answer
            files.answer(YES)
    assert trace.count("refund 40") == 1
    state = files.answer({"type": "respond", "message": "ran: refunded, says the bank"})
    assert answers(state)["call-1"] == "refunded, says the bank"


@pytest.mark.parametrize("host", ALL_HOSTS, indirect=True)
def test_a_crash_after_a_second_start_does_not_count_the_old_yes_again(
    tmp_path: Path, host: str, make: Make
) -> None:
    trace = killed_in_the_tool(tmp_path, host, make)
    trace.request_fault("die in the tool")
    make().run(None)
    run = process(tmp_path, host, {"decisions": [{"type": "run again"}]})
    run.communicate(timeout=60)
    assert run.returncode == -9
    make().run(None)
    assert trace.count("refund 40") == 2


def test_a_result_that_missed_its_checkpoint_is_handed_out_again(
    tmp_path: Path, host: str, make: Make
) -> None:
    trace = asked_in_another_life(make)
    trace.request_fault("die before the checkpoint")
    run = process(tmp_path, host, {"decisions": [YES]})
    run.communicate(timeout=60)
    assert run.returncode == -9
    state = make().run(None)
    assert answers(state)["call-1"] == "refunded 40"
    assert trace.count("refund 40") == 1
    assert state["messages"][-1].text == "Done."


def test_a_sibling_that_crashes_does_not_run_the_others_again(make: Make) -> None:
    files = make(REFUND, NOTE, says="proceed")
    files.trace.request_fault("crash")
    with pytest.raises(RuntimeError, match="the notebook is gone"):
        files.start()
    state = files.run(None)
    assert files.trace.count("refund 40") == 1
    assert files.trace.count("note hello") == 1
    assert answers(state)["call-1"] == "refunded 40"
    assert "the notebook is gone" in answers(state)["call-2"]


def test_an_old_checkpoint_gets_what_the_call_gave_then(make: Make) -> None:
    files = make()
    files.start()
    history = list(files.graph.get_state_history(CONFIG))
    files.answer(YES)
    for old in history:
        files.run(None, old.config)
    assert files.trace.count("refund 40") == 1


def test_a_fork_gets_what_the_call_gave_then(make: Make) -> None:
    files = make()
    files.start()
    pending_state = files.graph.get_state(CONFIG)
    files.answer(YES)
    fork = files.graph.update_state(pending_state.config, {"messages": []}, as_node="model")
    state = files.run(None, fork)
    while "__interrupt__" in state:
        state = files.answer(YES, config=files.graph.get_state(CONFIG).config)
    assert files.trace.count("refund 40") == 1


def test_a_fork_with_other_arguments_is_another_call(make: Make) -> None:
    files = make()
    files.start()
    pending_state = files.graph.get_state(CONFIG)
    files.answer(NO)
    message = pending_state.values["messages"][-1]
    other = message.model_copy(update={"tool_calls": [{**REFUND, "args": {"amount": 41}}]})
    fork = files.graph.update_state(pending_state.config, {"messages": [other]}, as_node="model")
    state = files.run(None, fork)
    assert "__interrupt__" in state
    assert len(files.bighub.evaluations) == 2
    assert files.trace.count("refund 41") == 0
    files.answer(YES)
    assert files.trace.count("refund 41") == 1


def test_a_message_during_an_approval_closes_it_for_every_process(make: Make) -> None:
    files = make()
    files.start()
    pending_config = files.graph.get_state(CONFIG).config
    state = files.run({"messages": [HumanMessage("wait")]})
    kinds = [type(message) for message in state["messages"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, HumanMessage, AIMessage]
    make().answer(YES, config=pending_config)
    assert files.trace.count("refund 40") == 0


def test_every_outcome_arrives_once(make: Make) -> None:
    files = make(REFUND, NOTE)
    files.start()
    files.answer(YES)
    files.guard.flush()
    assert sorted(files.bighub.statuses) == ["SUCCESS", "SUCCESS"]
    keys = [outcome["details"]["idempotency_key"] for outcome in files.bighub.reported_outcomes]
    assert len(set(keys)) == 2


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_run_that_starts_before_a_checkpoint_is_stored_does_not_go_on_too(
    make: Make, step: int
) -> None:
    """The first run has finished a step, and the next checkpoint is on its way to the disk."""
    first, second = make(), make()
    first.start()
    held_up, is_loaded = Event(), Event()
    checkpoints = iter(range(1, 100))

    def hold_up() -> None:
        if next(checkpoints) == step:
            held_up.set()
            is_loaded.wait(10)

    first.saver.before_put = hold_up
    second.saver.after_load = is_loaded.set

    def resume(files: Files) -> str:
        try:
            return answers(files.answer(YES))["call-1"]
        except RunInProgress:
            return "in progress"

    with ThreadPoolExecutor(2) as pool:
        early = pool.submit(resume, first)
        assert held_up.wait(10)
        late = pool.submit(resume, second)
        texts = {early.result(), late.result()}
    assert "refunded 40" in texts
    assert texts <= {"refunded 40", "in progress"}
    assert first.trace.count("refund 40") == 1
    assert first.trace.count("model") == 2
    assert second.start()["messages"][-1].text == "Done."  # the thread can be used on
