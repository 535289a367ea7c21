"""Several processes as one job, started as on several hosts: `scalax run` on each."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ONE_RUN = "sweep={kind='list', runs=[{params=14000, tokens=5_120}]}"  # 20 steps of 8 x 32 tokens
LONG_RUN = "sweep={kind='list', runs=[{params=14000, tokens=1_000_000}]}"


class Job:
    """The processes of a job, with a number of CPU devices each; captures their output."""

    def __init__(
        self, experiment: Path, out: Path, *settings: str, processes: int = 2, devices: int = 1,
        own: dict[int, list[str]] | None = None, plugin: Path | None = None, stuck: str = "",
    ) -> None:  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        self.processes, self.errors = [], [""] * processes
        for k in range(processes):
            where = ["--coordinator", address, "--process-id", str(k)]
            where += ["--num-processes", str(processes)] if processes > 1 else []
            given = [*settings, *(own or {}).get(k, [])]
            self.processes.append(
                subprocess.Popen(
                    [
                        sys.executable, "-m", "scalax", "run", experiment, "--out", out,
                        *(where if processes > 1 else []),
                        *(["--plugin", plugin] if plugin else []),
                        *(word for setting in given for word in ("--set", setting)),
                    ],
                    env=environment | {"SCALAX_TEST_STUCK": stuck, "SCALAX_TEST_PROCESS": str(k)},
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
        self.outputs = [""] * processes
        self._threads = [threading.Thread(target=self._read, args=(k,)) for k in range(processes)]
        for thread in self._threads:
            thread.start()

    def _read(self, k: int) -> None:
        self.outputs[k], self.errors[k] = self.processes[k].communicate()

    def ended(self, seconds: float = 180) -> list[int]:
        """Waits until all processes have ended; returns their exit codes."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for process in self.processes:
            process.kill()
        for thread in self._threads:
            thread.join()
        return [process.returncode for process in self.processes]


@pytest.fixture(scope="session")
def plain(experiment: Path) -> Path:
    """The experiment without its check run."""
    file = experiment.parent / "plain.toml"
    file.write_text(experiment.read_text().split("[check]")[0])
    return file


def losses(out: Path) -> np.ndarray:
    """The training loss of each step of the only run."""
    (file,) = out.glob("runs/*/metrics.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps))
    return np.asarray([line["loss"] for line in lines])


@pytest.fixture(scope="session")
def alone(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The losses of one process with one device."""
    out = tmp_path_factory.mktemp("alone") / "o"
    job = Job(plain, out, ONE_RUN, processes=1)
    assert job.ended() == [0], job.errors
    result = losses(out)
    assert len(result) == 20
    return result


def wait_for(condition: Callable[[], object], job: Job, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        assert all(process.poll() is None for process in job.processes), job.ended(5)
        time.sleep(0.1)


@pytest.mark.group
def test_two_processes_train_as_one_and_the_first_alone_speaks(
    plain: Path, alone: np.ndarray, tmp_path: Path
) -> None:
    job = Job(plain, tmp_path / "o", ONE_RUN, "train.mesh={fsdp=2}")
    assert job.ended() == [0, 0], job.errors
    np.testing.assert_allclose(losses(tmp_path / "o"), alone, rtol=1e-5)
    assert "1/1" in job.errors[0]
    assert "report" in job.outputs[0]
    assert (job.outputs[1], job.errors[1]) == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "devices", "mesh"),
    [
        (2, 1, "data=2"), (2, 1, "tensor=2"), (2, 2, "data=2, fsdp='auto'"),
        (4, 1, "data=4"), (4, 1, "fsdp=4"), (4, 1, "tensor=4"), (4, 1, "fsdp='auto', tensor=2"),
    ],
)  # fmt: skip
def test_two_and_four_processes_train_as_one_on_every_mesh(
    plain: Path, alone: np.ndarray, tmp_path: Path, processes: int, devices: int, mesh: str
) -> None:
    job = Job(
        plain, tmp_path / "o", ONE_RUN, f"train.mesh={{{mesh}}}",
        processes=processes, devices=devices,
    )  # fmt: skip
    assert job.ended() == [0] * processes, job.errors
    np.testing.assert_allclose(losses(tmp_path / "o"), alone, rtol=1e-5)


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_goes_on_with_one_and_on_another_mesh(
    plain: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    # A low rate: at a high one rounding grows from step to step, on one device as on many.
    slow = [LONG_RUN.replace("1_000_000", "100_000"), "train.learning_rate=1e-4"]
    slow += ["train.checkpoint_seconds=0.1"]
    whole = Job(plain, tmp_path / "whole", *slow, processes=1)
    assert whole.ended() == [0], whole.errors
    for processes, devices, mesh in [(2, 1, "fsdp=2"), (1, 1, "data=1"), (2, 2, "data=2, fsdp=2")]:
        before = steps_saved(out)
        job = Job(plain, out, *slow, f"train.mesh={{{mesh}}}", processes=processes, devices=devices)
        wait_for(lambda before=before: steps_saved(out) > before + 5, job)
        job.processes[0].send_signal(signal.SIGTERM)
        assert job.ended() == [143] * processes, job.errors
    job = Job(plain, out, *slow, "train.mesh={data=2}", devices=1)
    assert job.ended() == [0, 0], job.errors
    np.testing.assert_allclose(losses(out), losses(tmp_path / "whole"), rtol=1e-5)


def steps_saved(out: Path) -> int:
    """The step of the latest checkpoint of the only run."""
    return max((int(f.parent.name) for f in out.glob("runs/*/checkpoints/*/checkpoint.json")),
               default=0)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_all_others_which_name_it(
    plain: Path, tmp_path: Path, victim: int
) -> None:
    job = Job(plain, tmp_path / "o", LONG_RUN, "train.checkpoint_seconds=1")
    wait_for(lambda: steps_saved(tmp_path / "o"), job)
    job.processes[victim].kill()
    codes = job.ended(90)
    assert codes[victim] == -signal.SIGKILL
    assert codes[1 - victim] == 3, job.errors
    assert f"lost process {victim} on " in job.errors[1 - victim]


@pytest.mark.slow
def test_a_signal_to_one_process_saves_and_stops_all(plain: Path, tmp_path: Path) -> None:
    job = Job(plain, tmp_path / "o", LONG_RUN, "train.checkpoint_seconds=1")
    # The first checkpoint may come before the first logged step.
    wait_for(lambda: list(tmp_path.glob("o/runs/*/metrics.jsonl")), job)
    job.processes[1].send_signal(signal.SIGTERM)
    assert job.ended() == [143, 143], job.errors
    (file,) = tmp_path.glob("o/runs/*/metrics.jsonl")
    last = json.loads(file.read_text().splitlines()[-1])["step"]
    assert steps_saved(tmp_path / "o") >= last
    assert "stopped and saved" in job.errors[0]


@pytest.mark.slow
def test_other_settings_on_one_host_are_refused_on_all(plain: Path, tmp_path: Path) -> None:
    job = Job(plain, tmp_path / "o", ONE_RUN, own={1: ["train.learning_rate=0.5"]})
    assert job.ended() == [2, 2], job.errors
    assert all("the experiment: process 0 has" in error for error in job.errors)
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_a_mesh_that_the_processes_cannot_have_is_refused_on_all(
    plain: Path, tmp_path: Path
) -> None:
    job = Job(plain, tmp_path / "o", ONE_RUN, "train.mesh={data=4}")
    assert job.ended() == [2, 2], job.errors
    assert all("needs 4 devices, but only 2 are available" in error for error in job.errors)


HANGING = """
import os, threading
from scalax import registry
from scalax.data.base import Dataset

class Stuck:
    def __init__(self, source): self.source, self.left = source, 8 * STEPS
    def __len__(self): return len(self.source)
    def __getitem__(self, index):
        self.left -= 1
        if self.left < 0:
            threading.Event().wait()
        return self.source[index]

class Opened:
    def __init__(self, inner, stuck): self.spec, self.inner, self.stuck = inner.spec, inner, stuck
    def source(self, split):
        source = self.inner.source(split)
        return Stuck(source) if split == "train" and self.stuck else source

class Hanging(Dataset):
    name, title = "hanging", "text that stops coming on one process"
    def open(self, name, options):
        stuck = os.environ["SCALAX_TEST_STUCK"] in ("all", os.environ["SCALAX_TEST_PROCESS"])
        return Opened(registry.get("dataset", "text").open("text", options), stuck)

registry.register("dataset", "hanging", Hanging())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("stuck", "steps"), [(0, 60), (1, 60), (1, 1)])
def test_a_process_with_hanging_input_ends_all_and_leaves_its_stacks(
    plain: Path, tmp_path: Path, stuck: int, steps: int
) -> None:
    job = hanging(plain, tmp_path, stuck=str(stuck), processes=2, steps=steps)
    assert job.ended(120) == [3, 3], job.errors
    for errors in job.errors:
        assert f"process {stuck} on " in errors
        assert "hangs, and the others wait: no step for" in errors
    (stacks,) = tmp_path.glob(f"o/runs/*/stacks-process-{stuck}.txt")
    assert "__getitem__" in stacks.read_text()


@pytest.mark.slow
def test_a_hanging_step_ends_a_single_process(plain: Path, tmp_path: Path) -> None:
    job = hanging(plain, tmp_path, stuck="all", processes=1)
    assert job.ended(120) == [3], job.errors
    assert "no step for" in job.errors[0]
    assert "__getitem__" in job.errors[0]


def hanging(plain: Path, tmp_path: Path, *, stuck: str, processes: int, steps: int = 60) -> Job:
    plugin = tmp_path / "hanging.py"
    plugin.write_text(HANGING.replace("STEPS", str(steps)))
    return Job(
        plain, tmp_path / "o", LONG_RUN, "data.dataset='hanging'", "train.hang_seconds=4",
        processes=processes, plugin=plugin, stuck=stuck,
    )  # fmt: skip
