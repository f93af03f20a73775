"""The benchmark command: its targets, figures, page and exit codes. Nothing is timed here."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.__main__ import exit_code
from benchmarks.drawing import draw_charts
from benchmarks.environments import Environment, EnvironmentNotInstalled
from benchmarks.experiments import EXPERIMENTS, PUBLISHED
from benchmarks.measuring import Measurement, compute_figure
from benchmarks.page import REASONS, Result, reason_for, render_page
from benchmarks.parts import PARTS, REST, part_of
from benchmarks.targets import TARGETS, Basis, Limit, Target, p99
from benchmarks.workers import approval_page
from benchmarks.workers.profiler import locate, profile_threads, summarize_times

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "bighub_langgraph"
MODULES = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("[!_]*.py")]
TARGET = Target("wheel-round", "a turn of the wheel", "wheel", "ours", "a bare axle", "theirs")
PROFILE = {
    "unit": "ms",
    "total": 10.0,
    "waited": 0.0,
    "packages": [["bighub_langgraph", 6.0], ["langgraph", 4.0]],
    "parts": [["the hub", 5.0], ["the rim", 1.0]],
    "places": [["bighub_langgraph/hub.py: turn", 6.0]],
}


def place_in(module: str) -> str:
    return f"bighub_langgraph/{module}: turn"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def page(*results: Result, **options: Any) -> str:
    defaults = {"command": "python -m benchmarks", "date": "today", "facts": [], "pictures": {}}
    return render_page(results, **{**defaults, **options})


def measurement(*rounds: tuple[list[float], list[float]]) -> Measurement:
    return Measurement([{"ours": ours, "theirs": theirs} for ours, theirs in rounds])


def result(target: Target, ours: float, theirs: float, **options: Any) -> Result:
    return Result(target, compute_figure(target, measurement(([ours], [theirs]))), **options)


def test_every_target_has_a_name_of_its_own_an_alternative_and_an_experiment() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)
    assert all(target.description and target.alternative for target in TARGETS)
    assert {target.experiment for target in TARGETS} == set(EXPERIMENTS)


@pytest.mark.parametrize(
    ("group", "limits"),
    [
        ("facade", {Limit(1.0)}),
        ("parallel", {Limit(1.04), None}),
        ("crowd", {Limit(1.15)}),
        ("agent", {Limit(1.5)}),
        ("middleware", {Limit(1.25)}),
        ("hooks", {None}),
        ("telemetry", {None}),
        ("journal", {Limit(0.02, Basis.OURS), Limit(1.6)}),
        ("engine", {Limit(0.5, Basis.OURS), Limit(1.3), None}),
        ("server", {Limit(1_000, Basis.OURS, at_least=True), Limit(50, Basis.OURS)}),
        (
            "inbox",
            {Limit(1_000, Basis.OURS), Limit(200, Basis.OURS), Limit(0.9, at_least=True)},
        ),
        ("import", {Limit(20, Basis.EXCESS), Limit(0.4)}),
        ("memory", {Limit(1.0, Basis.EXCESS), None}),
    ],
)
def test_the_table_holds_every_limit(group: str, limits: set[Limit | None]) -> None:
    assert {target.limit for target in TARGETS if target.group == group} == limits


def test_every_program_is_there_and_a_quick_run_changes_only_options_it_has() -> None:
    for experiment in EXPERIMENTS.values():
        for program in experiment.programs:
            assert (CHECKOUT / "benchmarks" / "workers" / f"{program.worker}.py").is_file()
            assert program.quick.keys() <= program.options.keys()


def test_the_published_adapter_has_its_own_environment() -> None:
    environments = {
        program.options["adapter"]: program.environment
        for experiment in EXPERIMENTS.values()
        for program in experiment.programs
        if program.worker == "facade"
    }
    assert environments == {"bighub_langgraph": None, "bighub_openai": PUBLISHED}


def test_a_ratio_is_the_median_of_the_rounds_with_its_quartiles() -> None:
    rounds = [([2.0, 4.0, 9.0], [4.0]), ([1.0], [1.0]), ([3.0], [1.0])]
    figure = compute_figure(TARGET, measurement(*rounds))
    assert (figure.ours, figure.theirs, figure.ratio) == (3.0, 1.0, 1.0)
    assert figure.quartiles == (1.0, 2.0)


def test_samples_of_a_single_round_are_split_so_that_there_is_a_spread() -> None:
    figure = compute_figure(TARGET, measurement(([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5)))
    assert (figure.ratio, figure.quartiles) == (3.0, (2.0, 4.0))


def test_a_single_sample_has_no_spread() -> None:
    assert compute_figure(TARGET, measurement(([6.0], [3.0]))).quartiles is None


def test_a_target_may_compare_the_99th_percentile() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert (median(samples), p99(samples)) == (50.5, 100.0)
    figure = compute_figure(
        replace(TARGET, statistic=p99), measurement((samples, samples), (samples, samples))
    )
    assert figure.ours == 100.0


@pytest.mark.parametrize(
    ("limit", "ours", "theirs", "is_met"),
    [
        (None, 9.0, 1.0, None),
        (Limit(1.5), 3.0, 2.0, True),
        (Limit(1.5), 3.1, 2.0, False),
        (Limit(0.5, Basis.OURS), 0.5, 9.0, True),
        (Limit(0.5, Basis.OURS), 0.6, 9.0, False),
        (Limit(20, Basis.EXCESS), 35.0, 15.0, True),
        (Limit(20, Basis.EXCESS), 36.0, 15.0, False),
        (Limit(1_000, Basis.OURS, at_least=True), 1_000.0, 1.0, True),
        (Limit(1_000, Basis.OURS, at_least=True), 999.0, 1.0, False),
    ],
)
def test_a_value_equal_to_the_limit_meets_it(
    limit: Limit | None, ours: float, theirs: float, is_met: bool | None
) -> None:
    assert result(replace(TARGET, limit=limit), ours, theirs).is_met is is_met


def test_the_page_shows_both_sides_the_ratio_and_the_target() -> None:
    shown = page(result(replace(TARGET, limit=Limit(1.5)), 3.0, 2.5))
    assert (
        "| `wheel-round` | a turn of the wheel | 3 ms | a bare axle: 2.5 ms | 1.2 "
        "| ratio at most 1.5 | yes |"
    ) in shown
    assert "Missed targets" not in shown


def test_a_missed_target_states_its_limit_and_shows_the_profile() -> None:
    missed = result(replace(TARGET, limit=Limit(1.5)), 4.0, 2.0, profile=PROFILE)
    shown = page(missed)
    assert "| **no** |" in shown
    section = shown.partition("## Missed targets")[2]
    assert "### `wheel-round`" in section
    assert "ratio at most 1.5, measured 2." in section
    assert "10 ms under the profiler: bighub_langgraph 60%, langgraph 40%." in section
    assert "| the hub | 50% | 2 ms | 1 |" in section
    assert "| all parts | 60% | 1.6 ms | 0.8 |" in section
    assert "| 6 | 60% | `bighub_langgraph/hub.py: turn` |" in section


def test_a_missed_target_explains_why_in_words() -> None:
    target = replace(TARGET, name="middleware-sync-1", limit=Limit(1.5))
    assert reason_for("middleware-sync-1") in page(result(target, 4.0, 2.0, profile=PROFILE))
    assert reason_for("middleware-sync-1") != reason_for("middleware-embedded-sync-1")
    assert reason_for("wheel-round") == ""


def test_every_reason_belongs_to_a_target_with_a_limit() -> None:
    names = [target.name for target in TARGETS if target.limit is not None]
    assert all(any(name.startswith(prefix) for name in names) for prefix, _ in REASONS)


def test_there_are_no_estimates_where_most_of_the_time_is_waiting() -> None:
    waiting = {**PROFILE, "waited": 30.0}
    shown = page(result(replace(TARGET, limit=Limit(1.5)), 4.0, 2.0, profile=waiting))
    assert "plus 30 ms of waiting" in shown
    assert "| the hub | 50% |\n" in shown


def test_an_alternative_that_is_itself_beyond_the_limit_is_mentioned() -> None:
    target = replace(TARGET, limit=Limit(0.5, Basis.OURS))
    assert "a bare axle alone: 0.6 ms." in page(result(target, 0.9, 0.6))
    assert "alone" not in page(result(target, 0.9, 0.4))


def test_an_unmeasured_target_states_the_reason_and_counts_as_missed() -> None:
    failed = Result(
        replace(TARGET, limit=Limit(1.5)), None, failure="`wheel` ended with exit code 1"
    )
    assert failed.is_met is False
    assert "Not measured: `wheel` ended with exit code 1." in page(failed)


def test_a_missed_target_changes_the_exit_code_only_with_check() -> None:
    met, missed = (result(replace(TARGET, limit=Limit(1.5)), ours, 1.0) for ours in (1.0, 2.0))
    unmeasured = Result(TARGET, None, failure="`wheel` ended with exit code 1")
    assert exit_code([met, missed], check=False) == 0
    assert exit_code([met, missed], check=True) == 1
    assert exit_code([met, missed, unmeasured], check=True) == 3


def test_the_page_of_a_quick_run_says_so() -> None:
    assert "quick run" in page(quick=True)
    assert "quick run" not in page()


def test_only_charts_with_data_are_drawn(tmp_path: Path) -> None:
    shown = result(replace(TARGET, limit=Limit(1.5)), 4.0, 2.0)
    growth = {"growth-facade": Measurement([{"held": [80.0, 81.0, 81.0]}])}
    assert list(draw_charts([shown], growth, tmp_path)) == [
        "pictures/overview.svg",
        "pictures/memory.svg",
    ]
    assert (tmp_path / "pictures" / "overview.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert draw_charts([result(TARGET, 1.0, 1.0)], {}, tmp_path) == {}


def test_a_profile_names_packages_and_places_and_no_path_of_the_machine() -> None:
    with profile_threads() as profiles:
        compute_figure(TARGET, measurement(([1.0], [2.0])))
    summary = summarize_times(profiles, runs=1)
    places = [place for place, _ in summary["places"]]
    assert "benchmarks" in dict(summary["packages"])
    assert any(place.startswith("benchmarks/measuring.py: ") for place in places)
    assert not [place for place in places if place.startswith("/")]


@pytest.mark.parametrize(
    "folder", ["core", "bighub", "journal", "local", "graph", "openai", "approvals"]
)
def test_every_module_that_may_appear_in_a_profile_belongs_to_a_part(folder: str) -> None:
    modules = [module for module in MODULES if module.startswith(f"{folder}/")]
    assert modules
    assert not [module for module in modules if part_of(place_in(module)) in {None, REST}]


@pytest.mark.parametrize("prefix", [prefix for _, prefixes in PARTS for prefix in prefixes])
def test_every_prefix_of_a_part_matches_a_module(prefix: str) -> None:
    assert [module for module in MODULES if module.startswith(prefix)]


def test_every_part_has_a_module_that_no_earlier_part_contains() -> None:
    assert {part for part, _ in PARTS} <= {part_of(place_in(module)) for module in MODULES}


def test_a_place_outside_the_package_belongs_to_no_part() -> None:
    assert part_of("langgraph/pregel/main.py: stream") is None


def test_a_place_outside_the_checkout_and_the_libraries_keeps_only_its_file() -> None:
    assert locate(("/somewhere/json/encoder.py", 3, "encode"))[1] == "encoder.py: encode"


def test_an_installed_environment_is_not_created_again(tmp_path: Path) -> None:
    environment = Environment("shed", ("no-such-package",))
    home = tmp_path / f"shed-python{sys.version_info.major}.{sys.version_info.minor}"
    home.mkdir()
    (home / "ready").touch()
    assert environment.python(tmp_path).is_relative_to(home)


def test_an_environment_that_cannot_be_created_fails_each_time(tmp_path: Path) -> None:
    environment, no_directory = Environment("shed", ("wheels",)), tmp_path / "file"
    no_directory.touch()
    for _ in range(2):
        with pytest.raises(EnvironmentNotInstalled, match="shed could not be installed"):
            environment.python(no_directory)


def test_help_shows_examples_and_exit_codes() -> None:
    process = run("--help")
    assert process.returncode == 0
    assert "python -m benchmarks --quick" in process.stdout
    assert "exit codes" in process.stdout


def test_the_list_names_every_target_with_its_alternative() -> None:
    process = run("--list")
    assert process.returncode == 0
    lines = process.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [target.name for target in TARGETS]
    assert all(target.alternative in line for target, line in zip(TARGETS, lines, strict=True))


def test_an_unknown_name_is_rejected_with_the_list_of_names() -> None:
    process = run("--only", "import,wheel")
    assert process.returncode == 2
    assert "no target or group is named wheel" in process.stderr
    assert "import-facade" in process.stderr


def test_a_quick_partial_run_writes_its_page_to_the_output_directory(tmp_path: Path) -> None:
    process = run("--quick", "--only", "import", "--out", str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert "import, round 1 of 2" in process.stderr
    shown = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "`python -m benchmarks --quick --only import`" in shown
    assert "| `import-package` |" in shown
    assert "facade-sync-1" not in shown
    assert str(tmp_path) not in shown
    assert (tmp_path / "pictures" / "overview.svg").is_file()


def test_a_partial_run_without_output_directory_is_printed_and_not_written() -> None:
    before = _read_results()
    process = run("--quick", "--only", "journal-memory")
    assert process.returncode == 0, process.stderr
    assert "| `journal-memory` |" in process.stdout
    assert _read_results() == before


def test_the_program_of_the_approval_page_measures_each_of_its_series(tmp_path: Path) -> None:
    for name in ("measured", "profiled"):
        (tmp_path / name).mkdir()
    sizes = {"pending": 4, "views": 1, "answers": 2, "pages": 2, "calls": 10}
    samples = approval_page.measure(tmp_path / "measured", **sizes)
    targets = [target for target in TARGETS if target.experiment == "inbox"]
    assert set(samples) == {name for target in targets for name in (target.ours, target.theirs)}
    assert all(samples.values())
    profile = approval_page.profile_page(tmp_path / "profiled", **sizes)
    assert "the approval page, the inbox and workers" in dict(profile["parts"])


def _read_results() -> str | None:
    path = CHECKOUT / "benchmarks" / "RESULTS.md"
    return path.read_text(encoding="utf-8") if path.exists() else None
