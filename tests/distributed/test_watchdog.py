"""A step that hangs, including the first one, ends the process and reports its stacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HANG = """
import sys, time
from pathlib import Path
from scalax.distributed.hosts import Hosts
from scalax.distributed.watchdog import Watchdog

def wait_for_ever():
    while True:
        time.sleep(0.1)

watchdog = Watchdog(0.3, Path(sys.argv[1]), Hosts(), 40)
with watchdog.watching():
    with watchdog.paused():
        time.sleep(2.5)  # longer than any step may take
    time.sleep(0.9)  # longer than the floor: the first steps compile
    for step in range(int(sys.argv[2])):
        watchdog.step_done(41 + step)
    print("steps done", flush=True)
    wait_for_ever()
"""


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (0, "after step 40, where the first steps may take 1.8 s"),
        (4, "after step 44, where a step usually takes "),
    ],
)
def test_a_hang_is_found_from_the_first_step_on(tmp_path: Path, steps: int, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANG, tmp_path, str(steps)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout == "steps done\n"
    assert message in done.stderr
    assert "wait_for_ever" in (tmp_path / "stacks-process-0.txt").read_text()
