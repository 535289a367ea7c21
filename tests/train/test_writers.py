"""TensorBoard and W&B writers, checked with the real packages."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from scalax.errors import ScalaxError
from scalax.train import writers
from scalax.train.meter import Meter
from scalax.train.records import StepMetrics

TIMING = replace(Meter(100, 1e6, "f32", jax.devices()).timing(), units_per_second=99.0)
TRAIN = StepMetrics(10, 1000, {"loss": 2.5, "grad_norm": 0.5}, TIMING)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(writers.PACKAGES, "tensorboard", "no_such_package")
    with pytest.raises(ScalaxError, match="pip install no_such_package"):
        writers.check_writers(["tensorboard"])


def test_tensorboard_has_the_curves_without_steps_written_twice(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    writer = writers.open_writer("tensorboard", tmp_path, 5)
    writer.log_step(TRAIN)
    writer.log_eval(10, 1000, {"loss": 2.75})
    writer.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    data, result, restarted = file.read_bytes(), {}, []
    while data:  # TFRecord: length, its sum, the event, its sum
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        if event.HasField("session_log"):
            restarted.append(event.step)
        for value in event.summary.value:
            result[value.tag] = (event.step, value.simple_value)
        data = data[16 + size :]
    assert result == {
        "train/loss": (10, 2.5),
        "train/grad_norm": (10, 0.5),
        "train/units_per_second": (10, 99.0),
        "eval/loss": (10, 2.75),
    }
    assert restarted == [6]


def test_wandb_works_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    code = (
        "from pathlib import Path; import jax; from scalax.train.meter import Meter; "
        "from scalax.train.records import StepMetrics; "
        "from scalax.train.writers import open_writer; "
        "timing = Meter(100, 1e6, 'f32', jax.devices()).timing(); "
        f"w = open_writer('wandb', Path({str(tmp_path)!r}) / 'sweep' / 'runs' / 'one', 0); "
        "w.log_step(StepMetrics(10, 1000, {'loss': 2.5}, timing)); "
        "w.log_eval(10, 1000, {'loss': 2.75}); w.close()"
    )
    (tmp_path / "sweep" / "runs" / "one").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "WANDB_MODE": "offline"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / "sweep").rglob("*.wandb")
    assert b"train/loss" in kept.read_bytes()
