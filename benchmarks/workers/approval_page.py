"""The approval page with many pending calls: showing it, answers, and calls beside open pages.

The page is `bighub-langgraph inbox` in a process of its own, on a journal on a file. Open pages are
in another one. Each does what the script of the page does: it polls `/changes`, and reads the page
again when something has changed.
"""

import asyncio
import multiprocessing
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count, islice
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx

from benchmarks.server_load import run_command
from benchmarks.workers.calls import call_fields, claim_and_finish, insert_calls
from benchmarks.workers.profiler import profile_threads, summarize_times
from benchmarks.workers.stopwatch import measure_or_profile
from bighub_langgraph import Journal
from bighub_langgraph.approvals.accounts import Accounts
from bighub_langgraph.approvals.cards import Approver
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.core.evidence import build_evidence, describe_call
from bighub_langgraph.core.models import Answer, CallRecord, Verdict
from bighub_langgraph.core.ports import ApprovalQuestion

FEW = 10
POLL_SECONDS, RELOAD = 2.0, {"X-Bighub-Reload": "1"}  # as in the script of the page
PERSON = Approver("ada", verified=True, roles=frozenset({"approver"}))
SCHEMA = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "amount": {"type": "number"}},
    "required": ["order", "amount"],
}


def measure(
    home: Path, *, pending: int, views: int, answers: int, pages: int, calls: int
) -> dict[str, list[float]]:
    """Milliseconds of the page and of answers, and calls per second alone and beside pages."""
    numbers = count()
    with (
        closing(Journal(home / "calls.db")) as journal,
        run_command("inbox", "--journal", str(home / "calls.db")) as port,
        sign_in(journal, f"http://127.0.0.1:{port}") as client,
    ):

        def run_calls(number: int) -> list[float]:
            start = time.perf_counter()
            for record in insert_calls(journal, islice(numbers, number), Verdict.EXECUTE):
                claim_and_finish(journal, record)
            return [number / (time.perf_counter() - start)]

        def time_view() -> float:
            insert_calls(journal, islice(numbers, 1), Verdict.EXECUTE)  # so that all is read again
            return _time(partial(show_inbox, client))

        insert_pending(journal, islice(numbers, FEW))
        few = [time_view() for _ in range(views)]
        records = insert_pending(journal, islice(numbers, pending))
        many = [time_view() for _ in range(views)]
        answer, inbox = prepare_answer(client), ApprovalInbox(journal)
        pairs = list(zip(records[:answers], records[answers:], strict=False))
        samples = {
            "few pending": few,
            "many pending": many,
            "answered": [_time(partial(answer, record)) for record, _ in pairs],
            "in process": [
                _time(partial(inbox.answer, record.key, Answer.APPROVE, approver=PERSON))
                for _, record in pairs
            ],
        }
        run_calls(calls // 10)  # warm-up
        samples["alone per second"] = run_calls(calls)
        with open_pages(port, dict(client.cookies), pages):
            samples["beside pages per second"] = run_calls(calls)
    return samples


def profile_page(home: Path, pending: int, answers: int, **_: int) -> dict[str, Any]:
    """A profile of a page in this process that is shown, and on which calls are answered."""
    from bighub_langgraph.approvals.web.pages import create_app
    from bighub_langgraph.approvals.web.visitors import Visitors
    from bighub_langgraph.local.server.connections import serve_in_background

    with closing(Journal(home / "calls.db")) as journal:
        records = insert_pending(journal, range(pending))
        accounts = Accounts(journal)
        app = create_app(ApprovalInbox(journal), accounts, Visitors(accounts))
        with (
            profile_threads(current=False, clock=time.thread_time) as profiles,
            serve_in_background(app) as url,
            sign_in(journal, url) as client,
        ):
            answer = prepare_answer(client)
            for record in records[:answers]:
                show_inbox(client)
                answer(record)
    return summarize_times(profiles, runs=answers)


def insert_pending(journal: Journal, numbers: Iterable[int]) -> list[CallRecord]:
    """Calls that wait for a person, with what people are shown of them."""
    numbers = list(numbers)
    records = insert_calls(journal, numbers, Verdict.REVIEW)
    arguments = [call_fields(number)["args"] for number in numbers]
    journal.store_questions(
        [
            ApprovalQuestion(
                key=record.key,
                agent="desk",
                thread=record.thread,
                namespace="",
                schema=SCHEMA,
                tool_description="Pay money back to a customer.",
                description=describe_call(record, values),
                evidence=build_evidence(record),
                arguments=values,
                locked_pointers=(),
                allowed_decisions=tuple(answer.value for answer in Answer),
                allow_tool_change=False,
            )
            for record, values in zip(records, arguments, strict=True)
        ]
    )
    return records


@contextmanager
def sign_in(journal: Journal, url: str) -> Iterator[httpx.Client]:
    """A new user's browser at a page."""
    accounts = Accounts(journal)
    accounts.add(PERSON.name, PERSON.roles, None, by="benchmark")
    with httpx.Client(base_url=url, headers={"Origin": url}, trust_env=False) as client:
        form = {"link": accounts.create_link(PERSON.name), "form_token": _form_token(client)}
        _check(client.post("/sign-in", data=form), httpx.codes.SEE_OTHER)
        yield client


def show_inbox(client: httpx.Client) -> None:
    """Read the first page of the inbox."""
    _check(client.get("/"), httpx.codes.OK)


def prepare_answer(client: httpx.Client) -> Callable[[CallRecord], None]:
    """A function that approves a call on its page."""
    form = {"form_token": _form_token(client), "answer": Answer.APPROVE.value}

    def approve(record: CallRecord) -> None:
        response = client.post(f"/calls/{record.key}", data={**form, "version": record.version})
        _check(response, httpx.codes.SEE_OTHER)

    return approve


@contextmanager
def open_pages(port: int, cookies: dict[str, str], pages: int) -> Iterator[None]:
    """So many inboxes, open in another process."""
    spawned = multiprocessing.get_context("spawn")
    ready, closed = spawned.Event(), spawned.Event()
    arguments = (port, cookies, pages, ready, closed)
    process = spawned.Process(target=_keep_pages_open, args=arguments)
    process.start()
    while not ready.wait(0.1):
        if not process.is_alive():
            raise RuntimeError("the pages could not be loaded")
    yield
    closed.set()
    process.join()
    if process.exitcode:
        raise RuntimeError("an open page failed")


def _keep_pages_open(
    port: int, cookies: dict[str, str], pages: int, ready: Event, closed: Event
) -> None:
    asyncio.run(_follow_changes(f"http://127.0.0.1:{port}", cookies, pages, ready, closed))


async def _follow_changes(
    url: str, cookies: dict[str, str], pages: int, ready: Event, closed: Event
) -> None:
    polled = 0

    async def follow(client: httpx.AsyncClient) -> None:
        nonlocal polled
        shown = None
        while not closed.is_set():
            response = await client.get("/changes")
            _check(response, httpx.codes.OK)
            if str(response.json()["change"]) != shown:
                page = await client.get("/", headers=RELOAD)
                _check(page, httpx.codes.OK)
                shown = _find(r'data-change="(\d+)"', page)
            polled += 1
            if polled == pages:
                ready.set()
            await asyncio.sleep(POLL_SECONDS)

    limits = httpx.Limits(max_connections=pages)
    async with httpx.AsyncClient(
        base_url=url, cookies=cookies, limits=limits, timeout=60, trust_env=False
    ) as client:
        await asyncio.gather(*(follow(client) for _ in range(pages)))


def _time(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def _form_token(client: httpx.Client) -> str:
    return _find(r'name="form_token" value="(\w+)"', client.get("/"))


def _find(pattern: str, page: httpx.Response) -> str:
    if (match := re.search(pattern, page.text)) is None:
        raise RuntimeError(f"{page.request.url.path}: no {pattern}")
    return match[1]


def _check(response: httpx.Response, status: int) -> None:
    if response.status_code != status:
        raise RuntimeError(f"{response.request.url.path}: status {response.status_code}")


if __name__ == "__main__":
    measure_or_profile(measure, profile_page)
