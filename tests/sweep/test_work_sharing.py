"""Several jobs share one folder: each claims free groups and takes over those of dead jobs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import scalax.distributed.lease as leases
from scalax.distributed.hosts import Hosts
from scalax.distributed.stopping import Stopped
from scalax.sweep.work_sharing import ExclusiveJob

SETTINGS = ["sweep.params=[9_000, 10_000, 12_000, 14_000]", "train.checkpoint_seconds=0.1"]


def start(file: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [sys.executable, "-m", "scalax", "run", str(file), "--out", str(out), *words, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def alone(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("share") / "out"
    process = start(experiment, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return out


def same(one: Path, other: Path) -> None:
    for name in ("runs.csv", "check.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for file in sorted(one.rglob("metrics.jsonl")):
        assert file.read_bytes() == (other / file.relative_to(one)).read_bytes(), file


def ended(errors: str) -> set[str]:
    """Returns the runs that a job reports as ended."""
    return set(re.findall(r"\d+/\d+  (\S+):", errors))


def until(ready: str, out: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not list(out.glob(ready)):
        time.sleep(0.01)
    assert process.poll() is None, process.stderr.read()


@pytest.mark.group
def test_a_job_that_dies_is_taken_over_by_another(
    alone: Path, experiment: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    share = ("--share", "--lease-seconds", "3")
    first = start(experiment, out, *share)
    until("runs/*/checkpoints/*/checkpoint.json", out, first)
    refused = start(experiment, out)
    _, errors = refused.communicate()
    assert refused.returncode == 2
    assert "in use by process" in errors
    assert "--share" in errors
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = start(experiment, out, *share)
    output, errors = second.communicate()
    assert second.returncode == 0, errors
    assert "report:" in output
    same(alone, out)


def test_an_exclusive_job_waits_for_a_killed_sharing_job(tmp_path: Path) -> None:
    take = (
        "import sys, time, scalax.distributed.lease as l; "
        "l.acquire(sys.argv[1], seconds=2); time.sleep(60)"
    )
    place = tmp_path / "leases" / "job-0"
    with subprocess.Popen([sys.executable, "-c", take, place]) as killed:
        while leases.holder(place) is None:
            time.sleep(0.01)
        killed.kill()
    messages: list[str] = []
    with ExclusiveJob(tmp_path, Hosts(), messages.append) as alone, pytest.raises(Stopped):
        alone.starting(lambda: True).__enter__()
    with ExclusiveJob(tmp_path, Hosts(), messages.append) as alone, alone.starting(lambda: False):
        assert leases.holder(place) is None
    assert len(messages) == 2  # once for each
    assert re.search(
        rf"locked by process {killed.pid} on .*, which shares it; waiting", messages[1]
    )


@pytest.mark.slow
def test_two_jobs_divide_the_runs_and_one_of_them_reports(
    alone: Path, experiment: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    jobs = [start(experiment, out, "--share") for _ in range(2)]
    outputs = [job.communicate() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], outputs
    first, second = (ended(errors) for _, errors in outputs)
    assert first
    assert second
    assert not first & second
    assert len(first | second) == 9
    assert ["report:" in output for output, _ in outputs].count(True) == 1
    same(alone, out)


def test_a_lease_without_sharing_is_refused(experiment: Path, tmp_path: Path) -> None:
    process = start(experiment, tmp_path / "out", "--lease-seconds", "5")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "--share" in errors
