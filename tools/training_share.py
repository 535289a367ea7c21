"""Holds the training time of a finished sweep against what `scalax run --dry-run` expects.

    python tools/training_share.py out/quickstart

It is where `scalax.hardware.host.training_share` comes from. Run it on the machine that trained,
with nothing else running then and now.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scalax.hardware.host import matmul_rate, training_share
from scalax.runs.read import read_runs


def main(folder: Path) -> None:
    rate = matmul_rate(1.0)
    measured = expected = 0.0
    for row in sorted(read_runs(folder).rows(), key=lambda row: float(row["params"])):
        lines = (folder / "runs" / row["name"] / "timing.jsonl").read_text("utf-8").splitlines()
        last, each = json.loads(lines[-1]), row["flops"] / row["tokens"]
        reached = last["units_per_second"] * each
        told = {
            "run": row["name"],
            "flops_per_unit": each,
            "share": reached / rate,
            "assumed": training_share(each),
        }
        print(json.dumps(told))
        measured += row["flops_spent"] / reached
        expected += row["flops_spent"] / training_share(each) / rate
    print(json.dumps({"matmul_rate": rate, "seconds": measured, "expected": expected}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
