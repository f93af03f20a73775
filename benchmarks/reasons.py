"""What stands in the way of a target, in words; the figures are in the tables of the same run."""

# The first row whose name a target begins with counts.
REASONS: tuple[tuple[str, str], ...] = (
    (
        "facade-async",
        """\
The fakes answer at once, and then a coroutine of `bighub-openai` does little but call them: it
keeps no record of a call, and a report that fails is only logged. Here every call is recorded
before its tool runs, the reply is read strictly, secrets are hidden, and an outcome is kept until
BIGHUB has it. The first table says what each of that takes. No row of it is the difference; and
beside real waits nothing of it is left, see `parallel-async`.""",
    ),
    (
        "crowd",
        """\
All runs wait for the same things at the same time and go on at the same time, so the work of a
hundred runs queues on one core behind every wait. What is above one run's time is that work.""",
    ),
    (
        "agent",
        """\
The engine decides on every call and learns of every outcome. That alone, with no graph around it,
is `engine-memory`: as often as there are calls, beside the alternative's whole turn.""",
    ),
    (
        "middleware-embedded",
        """\
As for `agent`: the stock middleware asks nobody, and here an engine decides on every call and
learns of every outcome, which alone is `engine-memory`. With a client that answers at once the
same middleware is `middleware`.""",
    ),
    (
        "middleware-sync",
        """\
Empty hooks cost no more than the stock middleware, see `hooks`. The rest is the record of each
call and the way of its outcome to BIGHUB: a blocking client is told from a thread of its own while
the next model call runs, and behind a model that answers at once there is nothing to hide that
behind. The run then waits for that thread, and its tools' threads for Python's one lock.""",
    ),
    (
        "middleware",
        """\
Empty hooks cost no more than the stock middleware, see `hooks`. The rest is the record of each
call and the way of its outcome to BIGHUB.""",
    ),
    (
        "engine",
        """\
A bare commit of a row of that size takes a large part of it. The rest is a decision in Python:
features, counts, two regressions and precedents, in many small steps of which none stands out.""",
    ),
)


def reason_of(target: str) -> str:
    """The words for a target that is missed; empty where there are none."""
    return next((words for begins, words in REASONS if target.startswith(begins)), "")
