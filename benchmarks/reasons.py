"""What stands in the way of a target, in words; the figures come from the run."""

REASONS: tuple[tuple[str, str], ...] = ()


def reason_of(target: str) -> str:
    """The words for a target that is missed; empty where there are none."""
    return next((words for begins, words in REASONS if target.startswith(begins)), "")
