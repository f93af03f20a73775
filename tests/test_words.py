"""Standard words: no identifier and no sentence uses a word that the glossary replaced.

Two tables say which words: `PARTS` to `OLD_MODULES` for identifiers and file names, `PROSE` for
sentences. Ordinary English stays ordinary: a participle may be part of a longer name or stand in a
sentence, but is no name by itself, see `PARTICIPLE`.
"""

import ast
import io
import itertools
import json
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from typing import NamedTuple

import pytest

from tests.documents import ROOT

# -- words that are no identifiers -----------------------------------------------------------------

# Old word -> what to use instead. Forbidden as any part of a name: `wish`, `_wish_of`, `WISH_KEYS`,
# `WishList`.
PARTS = {
    "wish": "tool call",
    "wishes": "tool calls",
    "courier": "delivery worker",
    "crew": "thread pool",
    "hire": "submit, start",
    "hired": "submitted, started",
    "owed": "pending",
    "aside": "dead letter",
    "doubt": "outcome_unknown, recovery",
    "superseded": "edited",
    "overtaken": "stale",
    "unasked": "auto_executed",
    "colour": "sync / async",
    "colours": "sync / async",
    "coloured": "sync / async",
    "talk": "run",
    "told": "report, reported",
    "tell": "report",
    "tells": "reports",
    "telling": "reporting",
    "said": "response, text",
    "heard": "received, response",
    "settle": "complete",
    "settled": "completed, final",
    "settles": "completes",
    "considered": "evaluated",
    "consider": "evaluate",
    "amending": "plan",
    "assurance": "confidence_level",
    "rooms": "environments, packages",
}
# Forbidden as a whole name, with or without leading underscores: in lower case for names of any
# spelling (`fresh`, `_FRESH`, `Fresh`), with capitals for a class of exactly this name.
NAMES = {
    "asked": "request",
    "given": "raw, value, arguments",
    "known": "existing, the noun",
    "found": "matches, the noun",
    "left": "remaining",
    "opened": "the noun",
    "going_on": "continuation, the noun",
    "mine": "local, own",
    "fresh": "new",
    "whole": "complete",
    "one": "the item's noun",
    "promise": "risk_limit, guarantee",
    "move": "transition",
    "moves": "transitions",
    "IllegalMove": "InvalidTransition",
    "UnclearAnswer": "InvalidApprovalResponse",
    "StateRefused": "InvalidRunState",
    "CallNotRecorded": "RecordNotFound",
    "CircuitOpen": "CircuitOpenError",
    "BrokenStream": "StreamInterruptedError",
    "EngineRefused": "EngineRequestError",
    "NotAuthorized": "EngineAuthError",
    "UnreadableDecision": "InvalidDecisionError",
    "may_switch_tool": "allow_tool_change",
    "correction_delay": "label_delay",
    "verdict_weight": "human_label_weight",
    "look_again_after": "reevaluate_after",
    "listened_to": "on_decision",
    "announce": "emit_decision",
    "give_back": "release",
    "hand_out": "lease_batch",
    "postpone": "nack",
    "of_request": "find_by_request_id",
    "abandoned": "is_owner_dead",
}
# Forbidden as a whole name in some files only, because the word is ordinary elsewhere.
NAMES_IN = {
    "bighub_langgraph/*": {"hide": "redact", "hidden": "redacted"},
    "bighub_langgraph/journal/*": {
        "open": "insert",
        "due": "lease_batch",
        "delivered": "ack",
        "waiting": "pending_count",
        "books": "admin",
        "Line": "CallView",
        "Note": "HistoryEntry",
    },
    "bighub_langgraph/core/ports.py": {
        "open": "insert",
        "due": "lease_batch",
        "delivered": "ack",
        "waiting": "pending_count",
    },
    "bighub_langgraph/core/decision.py": {"word": "recommendation"},
    "bighub_langgraph/core/policy.py": {"allowed": "allowed_decisions"},
    "bighub_langgraph/core/*": {"plain": "to_jsonable"},
}
STANDARD_WORDS = (
    PARTS | NAMES | {word: use for names in NAMES_IN.values() for word, use in names.items()}
)
# Where a word of the tables above means something else: file, word, reason.
EXCEPTIONS = (
    ("bighub_langgraph/cli/*", "colour", "of text on a terminal"),
    ("bighub_langgraph/cli/*", "colours", "of text on a terminal"),
    ("benchmarks/drawing.py", "colour", "of a line in a picture"),
    ("tests/test_*schema*.py", "colour", "a parameter of a tool in a test"),
    ("tests/test_jsonable.py", "colour", "a value in a test"),
    ("tests/test_words.py", "*", "the words themselves, as samples"),
)
# Keys and values that users of an API of ours read.
WIRE_WORDS = {"settled": "status of an approval in the engine's API"}
# Package -> the names of modules that it no longer has.
OLD_MODULES = {
    "": "courier",
    "bighub": "loop",
    "core": "words call record answers asking crew drive forking current doubt flows events outcome"
    " messages plain proposing transitions verdict changing writing",
    "journal": "books connections database owed owners packing recent rows traces",
    "local": "store transactions answering calls checking requests controls rules switches decided"
    " remembered labelled deciding faults learning reading reply server_door server_openapi"
    " server_together",
    "local/scoring": "odds places promise bounds",
    "openai": "backing facade breaker retries checking conversation running custody state"
    " docstrings host models provider service once published registering replies requests"
    " resolution runs schemas signature typed_dicts json_schema talk turn",
    "graph": "amending answering approving evaluating reporting node arriving watching behind"
    " in_place checks closing opening embedding agent inputs tools leaving pausing stored"
    " questions tooling wrapping state routing",
}

# -- participles -----------------------------------------------------------------------------------

# A bare participle names nothing: `asked` may be a person, a request, a time or a flag.
PARTICIPLE = re.compile(
    r"[a-z]+(?:ed|ing)|begun|bound|bought|broken|brought|built|caught|chosen|done|drawn|fallen|felt"
    r"|forgotten|found|given|gone|grown|heard|held|kept|known|laid|left|lent|lost|made|meant|met"
    r"|paid|said|seen|sent|shown|sold|spent|spoken|taken|taught|thought|thrown|told|understood|won"
    r"|worn|written|began|came|gave|grew|knew|ran|saw|spoke|stood|took|went|wrote"
)
# Words of this form that are nouns or adjectives.
NO_PARTICIPLES = {
    "binding": "of arguments to parameters",
    "docstring": "a text",
    "ending": "of a run: how it ended",
    "heading": "of a text",
    "listing": "a list that is shown",
    "mapping": "the type of the standard library",
    "meaning": "of an outcome",
    "missing": "an adjective: without a value",
    "pending": "an adjective: what waits",
    "recording": "of a session, to be replayed",
    "remaining": "an adjective: seconds, or a number",
    "reporting": "the concept, and its settings",
    "ring": "a list whose newest item replaces the oldest",
    "ruling": "of a constraint: what it decided",
    "seed": "of random numbers",
    "testing": "the module for the tests of users",
}
# File, name, reason.
NAMED_PARTICIPLES = (
    ("bighub_langgraph/core/approval_answers.py", "RECORDED", "public: a graph is resumed with it"),
    ("bighub_langgraph/cli/calls.py", "executed", "the option --executed"),
    ("bighub_langgraph/cli/calls.py", "failed", "the option --failed"),
    ("bighub_langgraph/cli/demo/shop.py", "paid", "a field of the shop's JSON"),
    ("bighub_langgraph/cli/demo/shop.py", "refunded", "a field of the shop's JSON"),
    ("bighub_langgraph/cli/demo/summary.py", "blocked", "a field of --json"),
    ("bighub_langgraph/cli/replay/report.py", "caught", "a field of --json"),
    ("bighub_langgraph/core/redaction.py", "REDACTED", "what it says: [redacted]"),
    ("bighub_langgraph/graph/tool_proxy.py", "raised", "Python drops the name of an exception"),
    ("bighub_langgraph/local/engine_store.py", "returning", "the clause of SQL"),
    ("bighub_langgraph/local/repository.py", "followed", "a column, and a field of BIGHUB's JSON"),
    ("bighub_langgraph/local/repository.py", "seen", "a column: what the model knew"),
    ("bighub_langgraph/local/schemas/responses.py", "failed", "a field of BIGHUB's JSON"),
    ("bighub_langgraph/local/schemas/responses.py", "reported", "a field of BIGHUB's JSON"),
)

# -- words that are no prose -----------------------------------------------------------------------

# Word -> how it is recognized. A space stands for any white space, also the end of a line.
PROSE = {
    # The verb is ordinary: "as you wish".
    "wish": r"(?<!\byou )(?<!\bwe )(?<!\bI )(?<!\bthey )(?<!\bwho )(?<!\bto )\bwish(?:es|ing)?\b",
    "courier": r"\bcouriers?\b",
    "crew": r"\bcrews?\b",
    "set aside": r"\b(?:sets?|setting) (?:[\w`]+ ){0,2}aside\b",
    "in doubt": r"\bin doubt\b|\bin_doubt\b",
    "unasked": r"\bunasked\b",
    "overtaken": r"\bovertak(?:en|es|ing)\b",
    "colour": r"\bcolour(?:s|ed)?\b",
    "rooms": r"\brooms\b",
    "told BIGHUB": r"\b(?:tell|tells|told|telling) BIGHUB\b"
    r"|\bBIGHUB(?: \w+)? (?:is|was|been) told\b|\btold to BIGHUB\b",
    "asks nobody": r"\bask(?:s|ed|ing)? nobody\b",
    "bad ones that ran": r"\bbad ones that ran\b",
    # Names that users could read in code of the documentation.
    "old name": r"\b(?:may_switch_tool|correction_delay|verdict_weight|look_again_after"
    r"|listened_to|IllegalMove|UnclearAnswer|StateRefused|CallNotRecorded|CircuitOpen"
    r"|BrokenStream|EngineRefused|NotAuthorized|UnreadableDecision)\b",
    "outbox state": r"\boutbox (?:state|retry)\b",
}
PATTERNS = {
    word: re.compile(pattern.replace(" ", r"\s+") if "(?<!" not in pattern else pattern)
    for word, pattern in PROSE.items()
}
DOCUMENTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.md", "examples/**/*.py")
QUOTES = re.compile(r"^[a-zA-Z]{0,2}(?:\"{3}|'{3}|\"|')|(?:\"{3}|'{3}|\"|')$")
CODE = ("bighub_langgraph", "tests", "benchmarks")


class Finding(NamedTuple):
    """An old word in a place.

    Attributes:
        place: File and line, or file and cell of a notebook.
        word: The word, as in the tables.
        text: The name or the passage.
    """

    place: str
    word: str
    text: str

    def __str__(self) -> str:
        use = f", use {STANDARD_WORDS[self.word]}" if self.word in STANDARD_WORDS else ""
        return f"{self.place}: {self.word!r} in {self.text!r}{use}"


# -- scanning --------------------------------------------------------------------------------------


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that code gives: functions, classes, parameters, variables, attributes, aliases."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case (
                ast.FunctionDef(name=str(name))
                | ast.AsyncFunctionDef(name=str(name))
                | ast.ClassDef(name=str(name))
                | ast.arg(arg=name)
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, ctx=ast.Store())
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
                | ast.alias(asname=str(name))
            ):
                yield line, name


def keys_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Strings that look like names: keys of dictionaries, fields of events, columns."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z]+(_[a-z]+)*", text):
                yield node.lineno, text


def snake_case(name: str) -> str:
    """A name in lower case with underscores: "illegal_move" for `IllegalMove`, `_ILLEGAL_MOVE`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return parted.strip("_").lower()


def old_word_in_name(name: str, file: str) -> str | None:
    """The first word of the tables that a name in a file contains or is."""
    # The name of a test is a sentence.
    if name.startswith("test_"):
        return next(iter(words_in_prose(name.replace("_", " "))), (0, None, ""))[1]
    spellings = {snake_case(name), name.strip("_")}
    words = [part for part in snake_case(name).split("_") if part in PARTS]
    for names in (NAMES, *(names for where, names in NAMES_IN.items() if fnmatch(file, where))):
        words += [spelling for spelling in spellings if spelling in names]
    return next((word for word in words if not is_excepted(file, word)), None)


def is_excepted(file: str, word: str) -> bool:
    """Whether a word means something else in a file."""
    return any(fnmatch(file, where) and fnmatch(word, what) for where, what, _ in EXCEPTIONS)


def words_in_prose(text: str) -> Iterator[tuple[int, str, str]]:
    """The line, the word and the passage of each old word in a text."""
    for word, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, word, " ".join(match[0].split())


def prose_of_code(text: str) -> Iterator[tuple[int, str]]:
    """The first line and the text of each string and of each block of comments.

    Strings that Python concatenates are one text, and so are comments of consecutive lines.
    """
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    yield from join_numbered((token.start[0], token.string.lstrip("# ")) for token in comments)
    line_ends = {tokenize.NL, tokenize.COMMENT}
    for is_string, group in itertools.groupby(
        (token for token in tokens if token.type not in line_ends),
        lambda token: "STRING" in tokenize.tok_name[token.type],  # f-strings have parts since 3.12
    ):
        if is_string:
            parts = [(token.start[0], QUOTES.sub("", token.string)) for token in group]
            text = parts[0][1]
            for (before, part), (line, following) in itertools.pairwise(parts):
                text += "\n" * (line - before - part.count("\n")) + following
            yield parts[0][0], text


def join_numbered(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Numbered lines, with those that follow each other as one text."""
    for _, group in itertools.groupby(enumerate(lines), lambda item: item[1][0] - item[0]):
        block = [line for _, line in group]
        yield block[0][0], "\n".join(text for _, text in block)


def old_names(file: str, text: str) -> Iterator[Finding]:
    """The old names in a Python file; in the package also keys, and the name of the file."""
    tree = ast.parse(text)
    module = file.removesuffix(".py")
    stem = module.rpartition("/")[2]
    if (word := old_word_in_name(stem.removeprefix("test_"), file)) is not None:
        yield Finding(f"{file}:1", word, stem)
    if is_old_module(module):
        yield Finding(f"{file}:1", "old module", stem)
    for line, name in names_in(tree):
        if (word := old_word_in_name(name, file)) is not None:
            yield Finding(f"{file}:{line}", word, name)
    if file.startswith("bighub_langgraph/"):
        for line, key in keys_in(tree):
            word = next((part for part in key.split("_") if part in PARTS), None)
            if word is not None and key not in WIRE_WORDS and not is_excepted(file, word):
                yield Finding(f"{file}:{line}", word, key)


def bare_participles(file: str, text: str) -> Iterator[Finding]:
    """The names that are a bare participle, and the name of the file.

    A flag may be one, which is a field or parameter of the type `bool`, and so may a member of an
    enum, which is a state or a word of BIGHUB's.
    """
    tree = ast.parse(text)
    exempt = {name for where, name, _ in NAMED_PARTICIPLES if where == file}
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=ast.Name(id="bool")):
                exempt.add(name)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="bool")):
                exempt.add(name)
            case ast.ClassDef(bases=[ast.Name(id=base)]) if base.endswith("Enum"):
                exempt |= {name for _, name in names_in(ast.Module(node.body, []))}
    stem = file.rpartition("/")[2].removesuffix(".py")
    for line, name in [(1, stem), *names_in(tree)]:
        word = snake_case(name)
        if PARTICIPLE.fullmatch(word) and word not in NO_PARTICIPLES and name not in exempt:
            yield Finding(f"{file}:{line}", "participle", name)


def is_old_module(module: str) -> bool:
    """Whether a module, such as "bighub_langgraph/core/words", is one that moved or went."""
    folder, _, stem = module.rpartition("/")
    if folder.partition("/")[0] != "bighub_langgraph":
        return False
    return stem in OLD_MODULES.get(folder.partition("/")[2], "").split()


def old_prose(file: str, text: str) -> Iterator[Finding]:
    """The old words in a document, or in the strings and comments of a module of the package."""
    if file.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        blocks = [
            (f"cell {number}, line {{}}", 1, "".join(cell["source"]))
            for number, cell in enumerate(cells, start=1)
        ]
    elif file.startswith("bighub_langgraph/"):
        blocks = [("{}", line, block) for line, block in prose_of_code(text)]
    else:
        blocks = [("{}", 1, text)]
    for place, start, block in blocks:
        for line, word, passage in words_in_prose(block):
            if not is_excepted(file, word):
                yield Finding(f"{file}:{place.format(start + line - 1)}", word, passage)


def scan(scanner: Callable[[str, str], Iterator[Finding]], *patterns: str) -> list[Finding]:
    """What a scanner finds in the files of this repository that match the patterns."""
    paths = sorted({path for pattern in patterns for path in ROOT.glob(pattern)})
    return [
        finding
        for path in paths
        for finding in scanner(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]


def scan_names() -> list[Finding]:
    return scan(old_names, *(f"{folder}/**/*.py" for folder in CODE))


def scan_prose() -> list[Finding]:
    return scan(old_prose, *DOCUMENTS, "notebooks/*.ipynb", "bighub_langgraph/**/*.py")


# -- the repository --------------------------------------------------------------------------------


def test_no_identifier_uses_a_replaced_word() -> None:
    findings = scan_names()
    assert not findings, "\n" + "\n".join(map(str, findings))


def test_no_name_is_a_bare_participle() -> None:
    findings = scan(bare_participles, "bighub_langgraph/**/*.py")
    assert not findings, "\n" + "\n".join(map(str, findings))


def test_every_exception_for_a_participle_is_needed() -> None:
    for file, name, _ in NAMED_PARTICIPLES:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {own for _, own in names_in(tree)}


def test_no_sentence_uses_a_replaced_word() -> None:
    findings = scan_prose()
    assert not findings, "\n" + "\n".join(map(str, findings))


# -- the scanner -----------------------------------------------------------------------------------

CORE = "bighub_langgraph/core/sample.py"


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("def _told_of(run): ...", "told"),
        ("class Told: ...", "told"),
        ("class IllegalMove(Exception): ...", "IllegalMove"),
        ("def run(may_switch_tool=False): ...", "may_switch_tool"),
        ("def run(*, _given): ...", "given"),
        ("async def move(record): ...", "move"),
        ("class A:\n    in_doubt: bool", "doubt"),
        ("self._courier = worker", "courier"),
        ("OWED_AGAIN = 1", "owed"),
        ("[one for one in calls]", "one"),
        ("for number, one in enumerate(calls): ...", "one"),
        ("with journal as opened: ...", "opened"),
        ("if (found := search()): ...", "found"),
        ("import module as heard", "heard"),
        ("try: ...\nexcept OSError as fresh: ...", "fresh"),
        ("match call:\n    case {'id': known}: ...", "known"),
        ("match call:\n    case [*left]: ...", "left"),
        ("lambda whole: 1", "whole"),
        ("event['in_doubt'] = True", "doubt"),
        ("def test_a_call_in_doubt_is_kept(): ...", "in doubt"),
        ("type_ = Literal['overtaken']", "overtaken"),
    ],
)
def test_an_old_name_is_found_with_its_line(code: str, word: str) -> None:
    findings = list(old_names(CORE, f"\n{code}"))
    assert [finding.word for finding in findings] == [word]
    assert findings[0].place in {f"{CORE}:2", f"{CORE}:3"}


@pytest.mark.parametrize(
    "code",
    [
        "@given(text())\ndef check(text): ...",  # a name of another package
        "from hypothesis import given",
        "not_found = left_over = known_tools = one_by_one = 1",  # parts of longer names
        "retold = crewed = 1",
        "remaining = queue.left",  # somebody else's attribute
        "status == 'settled'",
        "def test_a_reader_is_told_what_is_left(): ...",  # ordinary English
        "print('what is said here is not a name', 'one', 'found')",
        "removed = moved = 1",
    ],
)
def test_another_name_is_not_found(code: str) -> None:
    assert list(old_names(CORE, code)) == []


@pytest.mark.parametrize(
    ("file", "code", "count"),
    [
        ("bighub_langgraph/journal/sql.py", "def due(): ...", 1),
        ("bighub_langgraph/graph/nodes.py", "due = 1", 0),
        ("bighub_langgraph/journal/admin.py", "class Line: line = 1", 1),
        ("bighub_langgraph/openai/resilience.py", "circuit_open = 1", 0),
        ("bighub_langgraph/cli/console.py", "COLOURS = 1", 0),
        ("bighub_langgraph/core/ports.py", "colours = 1", 1),
        ("bighub_langgraph/courier.py", "", 2),
        ("bighub_langgraph/core/words.py", "", 1),
        ("bighub_langgraph/core/reporting.py", "", 0),
        ("bighub_langgraph/graph/reporting.py", "", 1),
        ("tests/test_told.py", "", 1),
        ("tests/calls.py", "event = {'colour': 'red'}", 0),  # keys count in the package only
    ],
)
def test_some_words_are_old_in_some_files_only(file: str, code: str, count: int) -> None:
    assert len(list(old_names(file, code))) == count


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The origin of a wish does not matter.", "wish"),
        ("A server's wish to run a tool.", "wish"),
        ("It is set\naside after eight tries.", "set aside"),
        ("The worker sets the entry aside.", "set aside"),
        ("The call is *in\n  doubt*.", "in doubt"),
        ("The call is in\n  doubt.", "in doubt"),
        ("Serves both colours.", "colour"),
        ("A call that ran unasked.", "unasked"),
        ("It told BIGHUB of it.", "told BIGHUB"),
        ("What BIGHUB is told of a call.", "told BIGHUB"),
        ("A guard that asks nobody.", "asks nobody"),
        ("The rooms of the house.", "rooms"),
        ("`StateRefused` is raised.", "old name"),
        ("bighub-langgraph outbox retry", "outbox state"),
        ("Do as you wish.", None),
        ("Users who wish to see it.", None),
        ("Put it aside; it is set. Beside it stands another.", None),
        ("There is no doubt about it.", None),
        ("It tells the model why. BIGHUB has told nobody.", None),
        ("The mushrooms are coloring the bedroom.", None),
        ("The outbox states this.", None),
    ],
)
def test_an_old_word_is_found_in_a_document(text: str, word: str | None) -> None:
    expected = [] if word is None else [word]
    assert [finding.word for finding in old_prose("docs/page.md", text)] == expected


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def asked(): ...", ["asked"]),
        ("class Recorded: ...", ["Recorded"]),
        ("def run(*, waiting=None): ...", ["waiting"]),
        ("self._given = 1", ["_given"]),
        ("for seen in calls: ...", ["seen"]),
        ("_UNDECIDED = 1", ["_UNDECIDED"]),
        ("class State(Mode):\n    CLOSED = 1", ["CLOSED"]),
        ("class State(StrEnum):\n    CLOSED = 'closed'", []),
        ("class Row:\n    verified: bool\n    edited: str", ["edited"]),
        ("def run(replayed: bool):\n    self.replayed = replayed", []),
        ("asked_person = pending = reporting = is_closed = need_by = 1", []),
    ],
)
def test_a_bare_participle_is_found(code: str, names: list[str]) -> None:
    assert [finding.text for finding in bare_participles(CORE, code)] == names


def test_words_in_code_are_found_in_strings_and_comments() -> None:
    code = (
        "# A call that is in\n# doubt.\n\n"
        "wish = f'{name} is set aside'  # overtaken\n"
        "raise Error(\n    'the call is set '\n    f'aside: {name}'\n)\n"
        "def run():\n"
        '    """Run a crew.\n\n    It was unasked.\n    """\n'
    )
    findings = [(finding.place, finding.word) for finding in old_prose(CORE, code)]
    assert set(findings) == {
        (f"{CORE}:1", "in doubt"),
        (f"{CORE}:4", "overtaken"),
        (f"{CORE}:4", "set aside"),
        (f"{CORE}:6", "set aside"),
        (f"{CORE}:10", "crew"),
        (f"{CORE}:12", "unasked"),
    }


def test_words_in_a_notebook_are_found_in_its_cells() -> None:
    cells = [{"source": ["A call\n", "in doubt"]}, {"source": ["wish = 1"], "outputs": ["crew"]}]
    findings = list(old_prose("notebooks/sample.ipynb", json.dumps({"cells": cells})))
    assert [str(finding) for finding in findings] == [
        "notebooks/sample.ipynb:cell 1, line 2: 'in doubt' in 'in doubt'",
        "notebooks/sample.ipynb:cell 2, line 1: 'wish' in 'wish', use tool call",
    ]
