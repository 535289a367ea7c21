"""Compares the training time of a finished sweep with the estimate of `scalax run --dry-run`.

    python tools/training_share.py out/quickstart

The constants of `scalax.hardware.host.training_share` come from this tool. Run it on the machine
that trained the sweep, with no other load during training and now.
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
        last, flops_per_unit = json.loads(lines[-1]), row["flops"] / row["tokens"]
        flops_per_second = last["units_per_second"] * flops_per_unit
        record = {
            "run": row["name"],
            "flops_per_unit": flops_per_unit,
            "share": flops_per_second / rate,
            "assumed": training_share(flops_per_unit),
        }
        print(json.dumps(record))
        measured += row["flops_spent"] / flops_per_second
        expected += row["flops_spent"] / training_share(flops_per_unit) / rate
    print(json.dumps({"matmul_rate": rate, "seconds": measured, "expected": expected}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
