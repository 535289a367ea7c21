"""Measures what share of this machine's matrix-product rate a finished sweep's training reached.

    python tools/training_share.py out/quickstart

It is where `scalax.hardware.host.TRAINING_SHARE` comes from. Run it with nothing else running.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from scalax.hardware.host import matmul_rate
from scalax.runs.read import read_runs


def main(folder: Path) -> None:
    runs = read_runs(folder)
    rate = statistics.median(matmul_rate() for _ in range(9))
    shares = []
    for row in runs.rows():
        lines = (folder / "runs" / row["name"] / "timing.jsonl").read_text("utf-8").splitlines()
        units_per_second = json.loads(lines[-1])["units_per_second"]
        shares.append(units_per_second * row["flops"] / row["tokens"] / rate)
    told = {
        "matmul_flops_per_second": rate,
        "share_median": statistics.median(shares),
        "share_least": min(shares),
        "share_greatest": max(shares),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
