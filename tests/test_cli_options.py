"""The options that set an embedded engine's risk limit, alike in every command that starts one."""

import json
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph.cli.options import read_settings
from bighub_langgraph.core.models import Mode
from bighub_langgraph.local import DomainSettings, Settings
from tests.cli_journal import invoke

COMMANDS = {
    "serve": ("--db", "bighub.db", "--host", "0.0.0.0"),
    "replay": ("runs.json",),
    "demo": ("--days", "1"),
}
TOML = """
human_label_weight = 0.5
[default]
max_bad_rate = 0.3
[domains.payments]
enforcement_mode = "review"
confidence_level = 0.9
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call = {"tool": "refund", "arguments": {}, "error": False}
    Path("runs.json").write_text(json.dumps([{"calls": [call]} for _ in range(30)]))
    Path("engine.toml").write_text(TOML)


def test_the_settings_of_a_file_apply_by_domain_and_the_options_to_the_default() -> None:
    settings = read_settings(Path("engine.toml"), None, 0.8)
    default = DomainSettings(max_bad_rate=0.3, confidence_level=0.8)
    payments = DomainSettings(max_bad_rate=0.3, confidence_level=0.9, enforcement_mode=Mode.REVIEW)
    assert settings == Settings(
        default=default, domains={"payments": payments}, human_label_weight=0.5
    )
    assert read_settings(None, None, None) == Settings()
    assert read_settings(None, None, None, default=default).default == default


def test_a_file_of_json_can_leave_only_the_costs() -> None:
    Path("engine.json").write_text('{"default": {"max_bad_rate": null}}')
    assert read_settings(Path("engine.json"), None, None).default.max_bad_rate is None


# What is wrong: the options, the file, and what the message says.
INVALID: dict[str, tuple[tuple[str, ...], str, str]] = {
    "a share over one": (("--max-bad-rate", "1.5"), "", "lie between 0 and 1"),
    "no number": (("--max-bad-rate", "few"), "", "'--max-bad-rate'"),
    "a confidence of zero": (("--confidence-level", "0"), "", "lie between 0 and 1"),
    "no file": (("--settings", "none.toml"), "", "does not exist"),
    "no TOML": (("--settings", "engine.toml"), "max_bad_rate: 0.1", "--settings engine.toml"),
    "a misspelt setting": (
        *(("--settings", "engine.toml"), "[default]\nmax_bad_rat = 0.1"),
        "no setting is called 'max_bad_rat'",
    ),
    "a misspelt table": (("--settings", "engine.toml"), "[domain.a]", "is called 'domain'"),
    "a wrong type": (
        *(("--settings", "engine.toml"), "[default]\nmin_evidence = 'x'"),
        "min_evidence: ",
    ),
    "a list": (("--settings", "engine.toml"), "default = [1]", "--settings engine.toml"),
}


@pytest.mark.parametrize("problem", INVALID)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_invalid_settings_before_it_starts(command: str, problem: str) -> None:
    options, text, message = INVALID[problem]
    Path("engine.toml").write_text(text)
    result = invoke(command, *COMMANDS[command], *options)
    assert result.exit_code == 2
    assert message in result.output


def test_a_looser_limit_lets_a_replay_execute_more() -> None:
    def count_executed(*options: Any) -> int:
        document = json.loads(invoke("replay", "runs.json", "--json", *options).stdout)
        return sum(decision["verdict"] == "execute" for decision in document["decisions"])

    assert count_executed() == 0
    options = ("--max-bad-rate", 0.5, "--confidence-level", 0.5)
    Path("engine.toml").write_text("[default]\nlabel_delay = 0.0\nreview_cost = 0.9")
    assert count_executed("--settings", "engine.toml", *options) > 0


def test_the_demo_says_its_risk_limit() -> None:
    options = ("--max-bad-rate", 0.125, "--confidence-level", 0.9)
    output = invoke("demo", "--days", 1, *options).stdout
    assert "90% confident that at most 12% of them go wrong" in output
