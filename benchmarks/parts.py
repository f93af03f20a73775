"""The parts of the package that a profile is broken down by: modules grouped by purpose."""

PACKAGE = "bighub_langgraph"
REST = "the rest of the package"

# Part -> prefixes of its modules. The first part that matches counts.
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "call records: claims, results and their history",
        ("journal/", "core/models", "core/lifecycle", "core/claims", "core/recovery", "core/ports"),
    ),
    (
        "reporting: outcomes and memory events, stored until they are delivered",
        ("core/reporting", "core/delivery", "delivery_schedule", "delivery_worker"),
    ),
    ("copies and redaction of arguments and results", ("core/jsonable", "core/redaction")),
    (
        "the arguments of the model, validated against the tool's schema",
        (
            "openai/arguments",
            "openai/function_schema",
            "openai/parameters_schema",
            "openai/strict",
            "openai/tools",
        ),
    ),
    ("the conversation with the model", ("openai/", "core/model_messages")),
    (
        "evaluation: the request to BIGHUB, its parsed response, and the verdict",
        ("core/", "bighub/"),
    ),
    ("nodes, edges and hooks of the graph", ("graph/", "middleware", "guard")),
    ("the approval page, the inbox and workers", ("approvals/",)),
    ("the embedded engine: scores and training", ("local/scoring/", "local/trainer")),
    ("the embedded engine: requests, responses and storage", ("local/",)),
    ("spans and metrics of OpenTelemetry", ("telemetry",)),
    ("SQL connections and transactions", ("sql_engines", "sqldb")),
    ("thread pools and event loops", ("concurrency", "thread_pool")),
)


def part_of(place: str) -> str | None:
    """The part of a place in a profile, such as `bighub_langgraph/file.py: name`.

    None for a place outside the package.
    """
    package, _, module = place.partition("/")
    if package != PACKAGE:
        return None
    matches = (part for part, prefixes in PARTS if module.startswith(prefixes))
    return next(matches, REST)
