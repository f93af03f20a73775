"""What the demo says of itself before it starts."""

from rich.text import Text

from bighub_langgraph.cli.demo.approving import Approve
from bighub_langgraph.cli.demo.requests import REQUESTS
from bighub_langgraph.local import DomainSettings


def introduction(
    model: str | None, approve: Approve, promise: DomainSettings, *, chosen: bool, db: str | None
) -> Text:
    """Say what is about to happen, who plays the model and who answers."""
    reviews = _ANSWERS[approve]
    if not chosen and approve is not Approve.ASK:
        reviews += ", as there is no terminal to ask in"
    rows = {
        "model": f"{model}, a real one"
        if model
        else "a script, no LLM; --model NAME takes a real one",
        "reviews": reviews,
        "what it learns": f"kept in {db}" if db else "forgotten at the end; --db FILE keeps it",
    }
    text = Text.assemble(
        ("A support desk that learns\n\n", "bold"),
        f"{len(REQUESTS)} customers write to a small shop. Before a tool changes anything, the\n"
        "embedded BIGHUB is asked; then it is told what came of it. It lets calls run\n"
        f"without a person as far as it is {promise.assurance:.0%} sure that at most "
        f"{promise.max_bad_rate or 1:.0%} of them go wrong.\n\n",
    )
    for name, told in rows.items():
        text.append(f"{name:<15}", "dim").append(f"{told}\n")
    return text


_ANSWERS = {
    Approve.ASK: "you are asked",
    Approve.YES: "all approved (--approve yes)",
    Approve.NO: "all denied (--approve no)",
}
