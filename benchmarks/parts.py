"""What the package spends its time on, in words a user knows: modules by what they are for."""

PACKAGE = "bighub_langgraph"
REST = "everything else of the package"

# The first row that fits counts.
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "a record of every call, its claim and its end",
        ("journal/", "core/record", "core/transitions", "core/flows", "core/ports"),
    ),
    (
        "what BIGHUB is told: outcomes and memory events, kept until they arrive",
        ("core/outcome", "core/delivery", "core/messages", "courier"),
    ),
    (
        "what ran is what was asked about: copies, keys, redaction",
        ("core/plain", "core/redaction", "core/changing", "core/call"),
    ),
    (
        "what BIGHUB is asked, its reply read strictly, and the verdict",
        ("core/", "bighub/"),
    ),
    (
        "the model's arguments checked against the tool",
        (
            "openai/arguments",
            "openai/function_schema",
            "openai/once",
            "openai/parameters_schema",
            "openai/tools",
        ),
    ),
    ("the conversation with the model", ("openai/",)),
    ("nodes, edges and hooks of the graph", ("graph/", "middleware", "guard")),
    ("the embedded engine: scores and what they learn", ("local/scoring/", "local/learning")),
    ("the embedded engine: requests, replies and its store", ("local/",)),
)


def part_of(place: str) -> str | None:
    """The part that a place in a profile belongs to, `bighub_langgraph/file.py: name`."""
    package, _, inner = place.partition("/")
    if package != PACKAGE:
        return None
    fits = (part for part, modules in PARTS if inner.startswith(modules))
    return next(fits, REST)
