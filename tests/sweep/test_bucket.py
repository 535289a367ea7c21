"""A sweep's folder in a bucket: files, resumption, locks, damaged checkpoints and reading."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scalax as sx
import scalax.distributed.lease as leases
from scalax.distributed.folder_lock import FolderLock
from scalax.distributed.stopping import Stopped
from scalax.errors import JobError
from scalax.files import as_path, bucket_files, write_text
from scalax.sweep.run import run_experiment
from scalax.train.checkpoint import Checkpoints
from scalax.train.line_file import LineFile, read_lines
from tests.conftest import Command

SETTINGS = ["sweep={kind='list', runs=[{params=9000, tokens=8000}]}", "train.schedule='constant'"]


@pytest.mark.group
def test_a_sweep_stopped_and_resumed_in_a_bucket_leaves_what_it_leaves_on_a_disk(
    experiment: Path, bucket: str, tmp_path: Path
) -> None:
    there, here = f"{bucket}/{tmp_path.name}", tmp_path / "here"
    file = tmp_path / "one.toml"
    file.write_text(experiment.read_text().split("[check]")[0])
    run_experiment(file, here, SETTINGS)
    calls = itertools.count()
    with pytest.raises(Stopped):
        run_experiment(file, there, SETTINGS, stop=lambda: next(calls) > 10)
    run_experiment(file, there, SETTINGS)
    files = bucket_files(there)
    for file in ("runs.csv", "check.json", "experiment.toml"):
        assert files.cat_file(f"{there}/{file}") == (here / file).read_bytes()
    (metrics,) = (file.relative_to(here) for file in here.rglob("metrics.jsonl"))
    assert files.cat_file(f"{there}/{metrics.as_posix()}") == (here / metrics).read_bytes()
    assert len(list(as_path(f"{there}/{metrics.parent.as_posix()}/checkpoints").iterdir())) == 2
    assert files.cat_file(f"{there}/report.html").startswith(b"<!doctype html>")
    assert files.cat_file(f"{there}/figures/loss_curves.png").startswith(b"\x89PNG")
    np.testing.assert_array_equal(sx.read_runs(there)["loss"], sx.read_runs(here)["loss"])


HOLD = """
import sys, time
from scalax.files import as_path
from scalax.distributed.folder_lock import FolderLock
with FolderLock(as_path(sys.argv[1]), seconds=10) as lock:
    lock.try_acquire()
    print("acquired", flush=True)
    time.sleep(60)
"""
IN_USE = r"in use by process \d+ on .+ since 20.+ UTC"


def test_a_second_job_is_told_who_holds_a_folder_of_a_disk(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    with FolderLock(folder) as first, FolderLock(folder) as second:
        assert first.try_acquire() is None
        with pytest.raises(sx.ScalaxError, match=IN_USE):
            second.try_acquire()
        first.check()
    with FolderLock(folder) as third:
        assert third.try_acquire() is None


def test_a_second_job_sees_that_the_holder_of_a_bucket_lives(bucket: str, tmp_path: Path) -> None:
    folder = as_path(f"{bucket}/{tmp_path.name}")
    with FolderLock(folder, seconds=2) as first, FolderLock(folder) as second:
        assert first.try_acquire() is None
        message = second.try_acquire()
        assert re.search(r"locked by process \d+ on .* UTC; waiting up to [12] s to see", message)
        time.sleep(1)
        with pytest.raises(sx.ScalaxError, match=IN_USE):
            second.try_acquire()
        first.check()
    with FolderLock(folder) as third:
        assert third.try_acquire() is None


@pytest.mark.group
def test_a_job_waits_for_one_that_was_killed_and_takes_its_bucket_over(
    experiment: Path, bucket: str, tmp_path: Path, scalax: Command
) -> None:
    out = f"{bucket}/{tmp_path.name}"
    killed = subprocess.Popen(
        [sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert killed.stdout.readline() == "acquired\n"
    killed.kill()
    killed.communicate()
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    ended = scalax("run", experiment, "--out", out, *settings)
    assert ended.returncode == 0, ended.stderr
    assert f"locked by process {killed.pid} on" in ended.stderr
    assert f"report: {out}/report.html" in ended.stdout


def test_a_damaged_checkpoint_in_a_bucket_is_passed_over(bucket: str, tmp_path: Path) -> None:
    folder = as_path(f"{bucket}/{tmp_path.name}/checkpoints")
    states = {step: {"values": jnp.arange(4096.0) + step} for step in (1, 2)}
    checkpoints = Checkpoints(folder)
    for step, state in states.items():
        checkpoints.save(state, step, {})
    checkpoints.close()
    files = bucket_files(folder)
    objects = files.find(f"{folder}/2", detail=True)
    largest = max(objects, key=lambda name: objects[name]["size"])
    data = bytearray(files.cat_file(largest))
    data[len(data) // 2] ^= 0xFF
    files.pipe_file(largest, bytes(data))
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = {"values": jax.ShapeDtypeStruct((4096,), jnp.float32, sharding=sharding)}
    checkpoints = Checkpoints(folder)
    with pytest.warns(UserWarning, match="checkpoint 2 cannot be used"):
        result = checkpoints.restore(abstract)
    checkpoints.close()
    np.testing.assert_array_equal(result["values"], states[1]["values"])


def test_lines_in_a_bucket_last_once_they_are_kept(bucket: str, tmp_path: Path) -> None:
    path = as_path(f"{bucket}/{tmp_path.name}/metrics.jsonl")
    lines = LineFile(path)
    lines.append({"step": 1})
    assert read_lines(path) == []
    lines.flush()
    assert read_lines(path) == [{"step": 1}]
    later = LineFile(path)  # as of a resumed session
    later.append({"step": 2})
    later.close()
    assert read_lines(path) == [{"step": 1}, {"step": 2}]


def test_a_bucket_that_is_not_there_is_an_error_of_the_job(bucket: str) -> None:
    assert bucket
    with pytest.raises(
        JobError, match=r"gs://scalax-none/x: the bucket or the file does not exist"
    ):
        write_text(as_path("gs://scalax-none/x"), json.dumps({}))


def test_without_its_package_a_bucket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(sx.ScalaxError, match=r"gs://b/sweep: .* pip install gcsfs"):
        as_path("gs://b/sweep")


@pytest.mark.parametrize("path", ["gs://", "gs:///"])
def test_an_address_without_a_bucket_is_refused(path: str) -> None:
    with pytest.raises(sx.ScalaxError, match="write gs://BUCKET/FOLDER"):
        as_path(path)


def test_a_lease_in_a_bucket_that_is_not_there_is_an_error_of_the_job(bucket: str) -> None:
    assert bucket
    with pytest.raises(JobError, match=r"gs://scalax-none/x"):
        leases.acquire("gs://scalax-none/x/.lock")
