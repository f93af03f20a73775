"""Who may approve a call: whose answer counts, and how many more are needed."""

from bighub_langgraph.core.models import Answer, Approval, CallRecord, State


def find_objection(record: CallRecord, approval: Approval) -> str:
    """Return why a person's answer about a call does not count; "" if it does.

    Where several people, or certain people, have to approve, only verified names count. That a call
    of unknown outcome shall run again, or took effect, is judged by the same rule.
    """
    requirement, name = record.requirement, approval.approver

    def is_same(other: str) -> bool:
        # Servers and proxies may write one person's name in capitals or not.
        return other.strip().casefold() == name.strip().casefold()

    may_answer = {name, *approval.roles} & {*requirement.approvers} or not requirement.approvers
    if approval.verified and not may_answer:
        return f"only {' or '.join(requirement.approvers)} may answer, and {name} is not"
    if approval.answer is Answer.REJECT:
        return ""
    own_names = [record.request.actor, requirement.requested_by if is_restricted(record) else ""]
    if name and any(map(is_same, own_names)):
        return f"the call is {name}'s own, and nobody approves their own calls"
    if is_restricted(record) and not approval.verified:
        return (
            "only people who are signed in may approve it, and nothing shows who this one is: "
            "answer on the approval page"
        )
    # Who wanted a call may well have found out that it took effect.
    is_vote = record.state is not State.UNKNOWN or approval.answer is Answer.APPROVE
    has_voted = any(is_same(vote.approver) for vote in record.votes)
    if is_vote and has_voted and requirement.approvals > 1:
        return f"{name} has approved it already, and another person has to"
    return ""


def is_restricted(record: CallRecord) -> bool:
    """Whether several people, or certain people, have to approve a call."""
    return record.requirement.approvals > 1 or bool(record.requirement.approvers)


def missing_approvals(record: CallRecord) -> int:
    """Return how many more people have to approve a call that waits, or that it runs again."""
    return max(record.requirement.approvals - len(record.votes), 0)
