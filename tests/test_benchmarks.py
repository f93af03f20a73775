"""The benchmark command: what it measures, writes and says. Nothing is timed here."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.__main__ import ending
from benchmarks.drawing import draw
from benchmarks.experiments import EXPERIMENTS, PUBLISHED
from benchmarks.measuring import Measured, figure
from benchmarks.page import Result, render
from benchmarks.parts import PARTS, REST, part_of
from benchmarks.reasons import REASONS, reason_of
from benchmarks.rooms import NotInstalled, Room
from benchmarks.targets import TARGETS, Limit, Of, Target, p99
from benchmarks.workers.profiler import located, profile, summary

CHECKOUT = Path(__file__).parents[1]
TARGET = Target("wheel-round", "a turn of the wheel", "wheel", "ours", "a bare axle", "theirs")
PROFILE = {
    "unit": "ms",
    "total": 10.0,
    "waited": 0.0,
    "packages": [["bighub_langgraph", 6.0], ["langgraph", 4.0]],
    "parts": [["the hub", 5.0], ["the rim", 1.0]],
    "spots": [["bighub_langgraph/hub.py: turn", 6.0]],
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def page(*results: Result, **options: Any) -> str:
    given = {"command": "python -m benchmarks", "date": "today", "facts": [], "pictures": {}}
    return render(results, **{**given, **options})


def measured(*rounds: tuple[list[float], list[float]]) -> Measured:
    return Measured([{"ours": ours, "theirs": theirs} for ours, theirs in rounds])


def result(target: Target, ours: float, theirs: float, **options: Any) -> Result:
    return Result(target, figure(target, measured(([ours], [theirs]))), **options)


def test_every_target_has_a_name_of_its_own_an_alternative_and_an_experiment() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)
    assert all(target.what and target.against for target in TARGETS)
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
        ("journal", {Limit(0.02, Of.ITSELF), Limit(1.6)}),
        ("engine", {Limit(0.5, Of.ITSELF), Limit(1.3), None}),
        ("server", {Limit(1_000, Of.ITSELF, at_least=True), Limit(50, Of.ITSELF)}),
        ("import", {Limit(20, Of.EXCESS), Limit(0.4)}),
        ("memory", {Limit(1.0, Of.EXCESS), None}),
    ],
)
def test_the_table_holds_every_limit(group: str, limits: set[Limit | None]) -> None:
    assert {target.limit for target in TARGETS if target.group == group} == limits


def test_every_program_is_there_and_a_quick_run_changes_only_options_it_has() -> None:
    for experiment in EXPERIMENTS.values():
        for program in experiment.programs:
            assert (CHECKOUT / "benchmarks" / "workers" / f"{program.worker}.py").is_file()
            assert program.quick.keys() <= program.options.keys()


def test_the_published_adapter_lives_in_a_room_of_its_own() -> None:
    rooms = {
        program.options["adapter"]: program.room
        for experiment in EXPERIMENTS.values()
        for program in experiment.programs
        if program.worker == "facade"
    }
    assert rooms == {"bighub_langgraph": None, "bighub_openai": PUBLISHED}


def test_a_ratio_is_the_median_of_the_rounds_with_its_quartiles() -> None:
    rounds = [([2.0, 4.0, 9.0], [4.0]), ([1.0], [1.0]), ([3.0], [1.0])]
    found = figure(TARGET, measured(*rounds))
    assert (found.ours, found.theirs, found.ratio) == (3.0, 1.0, 1.0)
    assert found.quartiles == (1.0, 2.0)


def test_samples_of_a_single_round_are_cut_so_that_there_is_a_spread() -> None:
    found = figure(TARGET, measured(([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5)))
    assert (found.ratio, found.quartiles) == (3.0, (2.0, 4.0))


def test_a_single_sample_has_no_spread() -> None:
    assert figure(TARGET, measured(([6.0], [3.0]))).quartiles is None


def test_a_target_may_look_at_the_slowest_of_a_hundred() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert (median(samples), p99(samples)) == (50.5, 100.0)
    found = figure(replace(TARGET, at=p99), measured((samples, samples), (samples, samples)))
    assert found.ours == 100.0


@pytest.mark.parametrize(
    ("limit", "ours", "theirs", "met"),
    [
        (None, 9.0, 1.0, None),
        (Limit(1.5), 3.0, 2.0, True),
        (Limit(1.5), 3.1, 2.0, False),
        (Limit(0.5, Of.ITSELF), 0.5, 9.0, True),
        (Limit(0.5, Of.ITSELF), 0.6, 9.0, False),
        (Limit(20, Of.EXCESS), 35.0, 15.0, True),
        (Limit(20, Of.EXCESS), 36.0, 15.0, False),
        (Limit(1_000, Of.ITSELF, at_least=True), 1_000.0, 1.0, True),
        (Limit(1_000, Of.ITSELF, at_least=True), 999.0, 1.0, False),
    ],
)
def test_a_limit_is_met_up_to_its_very_value(
    limit: Limit | None, ours: float, theirs: float, met: bool | None
) -> None:
    assert result(replace(TARGET, limit=limit), ours, theirs).met is met


def test_the_page_shows_both_sides_the_ratio_and_the_target() -> None:
    shown = page(result(replace(TARGET, limit=Limit(1.5)), 3.0, 2.5))
    assert (
        "| `wheel-round` | a turn of the wheel | 3 ms | a bare axle: 2.5 ms | 1.2 "
        "| ratio at most 1.5 | yes |"
    ) in shown
    assert "What the limit is" not in shown


def test_a_missed_target_says_what_the_limit_is_and_shows_the_profile() -> None:
    missed = result(replace(TARGET, limit=Limit(1.5)), 4.0, 2.0, profile=PROFILE)
    shown = page(missed)
    assert "| **no** |" in shown
    reason = shown.partition("## What the limit is")[2]
    assert "### `wheel-round`" in reason
    assert "ratio at most 1.5, found 2." in reason
    assert "10 ms with the profiler on: bighub_langgraph 60%, langgraph 40%." in reason
    assert "| the hub | 50% | 2 ms | 1 |" in reason
    assert "| all of it | 60% | 1.6 ms | 0.8 |" in reason
    assert "| 6 | 60% | `bighub_langgraph/hub.py: turn` |" in reason


def test_a_missed_target_says_in_words_what_stands_in_its_way() -> None:
    target = replace(TARGET, name="middleware-sync-1", limit=Limit(1.5))
    assert reason_of("middleware-sync-1") in page(result(target, 4.0, 2.0, profile=PROFILE))
    assert reason_of("middleware-sync-1") != reason_of("middleware-embedded-sync-1")
    assert reason_of("wheel-round") == ""


def test_words_stand_only_for_targets_there_are() -> None:
    names = [target.name for target in TARGETS if target.limit is not None]
    assert all(any(name.startswith(begins) for name in names) for begins, _ in REASONS)


def test_what_would_remain_is_not_guessed_where_most_of_the_time_is_waiting() -> None:
    waiting = {**PROFILE, "waited": 30.0}
    shown = page(result(replace(TARGET, limit=Limit(1.5)), 4.0, 2.0, profile=waiting))
    assert "beside 30 ms of waiting" in shown
    assert "| the hub | 50% |\n" in shown


def test_an_alternative_that_is_itself_beyond_the_limit_is_told() -> None:
    target = replace(TARGET, limit=Limit(0.5, Of.ITSELF))
    assert "That of a bare axle alone is 0.6 ms." in page(result(target, 0.9, 0.6))
    assert "alone" not in page(result(target, 0.9, 0.4))


def test_what_was_not_measured_says_why_and_counts_as_missed() -> None:
    failed = Result(replace(TARGET, limit=Limit(1.5)), None, failure="`wheel` ended with 1")
    assert failed.met is False
    assert "Not measured: `wheel` ended with 1." in page(failed)


def test_only_who_asks_for_it_is_told_of_a_missed_target_by_the_exit_code() -> None:
    met, missed = (result(replace(TARGET, limit=Limit(1.5)), ours, 1.0) for ours in (1.0, 2.0))
    unmeasured = Result(TARGET, None, failure="`wheel` ended with 1")
    assert ending([met, missed], check=False) == 0
    assert ending([met, missed], check=True) == 1
    assert ending([met, missed, unmeasured], check=True) == 3


def test_a_quick_page_says_that_it_is_one() -> None:
    assert "quick run" in page(quick=True)
    assert "quick run" not in page()


def test_the_pictures_are_drawn_from_what_there_is(tmp_path: Path) -> None:
    shown = result(replace(TARGET, limit=Limit(1.5)), 4.0, 2.0)
    grown = {"growth-facade": Measured([{"held": [80.0, 81.0, 81.0]}])}
    assert list(draw([shown], grown, tmp_path)) == ["pictures/overview.svg", "pictures/memory.svg"]
    assert (tmp_path / "pictures" / "overview.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert draw([result(TARGET, 1.0, 1.0)], {}, tmp_path) == {}


def test_a_profile_names_packages_and_places_and_no_path_of_the_machine() -> None:
    with profile() as seen:
        figure(TARGET, measured(([1.0], [2.0])))
    told = summary(seen, runs=1)
    assert "benchmarks" in dict(told["packages"])
    assert any(where.startswith("benchmarks/measuring.py: ") for where, _ in told["spots"])
    assert not [where for where, _ in told["spots"] if where.startswith("/")]


def test_every_module_of_the_package_that_may_show_in_a_profile_belongs_to_a_part() -> None:
    homes = ("core", "bighub", "journal", "local", "graph", "openai")
    package = CHECKOUT / "bighub_langgraph"
    modules = [path for home in homes for path in (package / home).rglob("[!_]*.py")]
    places = [f"{path.relative_to(CHECKOUT).as_posix()}: turn" for path in modules]
    assert len(places) > 100
    assert not [place for place in places if part_of(place) in {None, REST}]


def test_every_row_of_the_parts_holds_a_module_of_its_own() -> None:
    package = CHECKOUT / "bighub_langgraph"
    modules = [path.relative_to(CHECKOUT).as_posix() for path in package.rglob("[!_]*.py")]
    found = {part_of(f"{module}: turn") for module in modules}
    assert {part for part, _ in PARTS} <= found
    assert part_of("langgraph/pregel/main.py: stream") is None


def test_a_place_outside_of_the_checkout_and_the_libraries_keeps_only_its_file() -> None:
    assert located(("/somewhere/json/encoder.py", 3, "encode"))[1] == "encoder.py: encode"


def test_a_room_that_is_ready_is_not_made_again(tmp_path: Path) -> None:
    room = Room("shed", ("no-such-package",))
    home = tmp_path / f"shed-python{sys.version_info.major}.{sys.version_info.minor}"
    home.mkdir()
    (home / "ready").touch()
    assert room.python(tmp_path).is_relative_to(home)


def test_a_room_that_cannot_be_made_says_so_and_is_not_taken_for_ready(tmp_path: Path) -> None:
    room, no_directory = Room("shed", ("wheels",)), tmp_path / "file"
    no_directory.touch()
    for _ in range(2):
        with pytest.raises(NotInstalled, match="shed could not be installed"):
            room.python(no_directory)


def test_help_shows_examples_and_exit_codes() -> None:
    said = run("--help")
    assert said.returncode == 0
    assert "python -m benchmarks --quick" in said.stdout
    assert "exit codes" in said.stdout


def test_the_list_names_every_target_with_its_alternative() -> None:
    said = run("--list")
    assert said.returncode == 0
    lines = said.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [target.name for target in TARGETS]
    assert all(target.against in line for target, line in zip(TARGETS, lines, strict=True))


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    said = run("--only", "import,wheel")
    assert said.returncode == 2
    assert "nothing is named wheel" in said.stderr
    assert "import-facade" in said.stderr


def test_a_quick_run_of_a_part_writes_its_page_into_the_directory_it_is_given(
    tmp_path: Path,
) -> None:
    said = run("--quick", "--only", "import", "--out", str(tmp_path))
    assert said.returncode == 0, said.stderr
    assert "import, round 1 of 2" in said.stderr
    shown = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "`python -m benchmarks --quick --only import`" in shown
    assert "| `import-package` |" in shown
    assert "facade-sync-1" not in shown
    assert str(tmp_path) not in shown
    assert (tmp_path / "pictures" / "overview.svg").is_file()


def test_without_a_directory_a_part_is_shown_and_not_written() -> None:
    before = _written()
    said = run("--quick", "--only", "journal-memory")
    assert said.returncode == 0, said.stderr
    assert "| `journal-memory` |" in said.stdout
    assert _written() == before


def _written() -> str | None:
    path = CHECKOUT / "benchmarks" / "RESULTS.md"
    return path.read_text(encoding="utf-8") if path.exists() else None
