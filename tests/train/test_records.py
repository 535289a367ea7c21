"""The records of a run: lines that survive a kill, and the summary of its time."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import pytest

from scalax.errors import ScalaxError
from scalax.train.line_file import LineFile, read_lines
from scalax.train.meter import Meter, SessionTiming
from scalax.train.performance import summarize
from scalax.train.profile import Profile
from scalax.train.records import MetricsFiles, StepMetrics


def metrics_of(step: int) -> StepMetrics:
    timing = Meter(10, 1e6, "f32", jax.devices()).timing()
    return StepMetrics(step, 10 * step, {"loss": 1 / 3 + step}, timing)


def test_lines_past_the_checkpoint_are_written_again_the_same(tmp_path: Path) -> None:
    metrics = MetricsFiles(tmp_path, 0)
    for step in (1, 2, 3):
        metrics.log_step(metrics_of(step))
        metrics.log_eval(step, 10 * step, {"loss": 0.1 * step})
    metrics.close()
    whole = [(tmp_path / name).read_bytes() for name in ("metrics.jsonl", "eval.jsonl")]
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "lo')  # cut short by a kill
    metrics = MetricsFiles(tmp_path, 1)
    for step in (2, 3):
        metrics.log_step(metrics_of(step))
        metrics.log_eval(step, 10 * step, {"loss": 0.1 * step})
    metrics.close()
    assert [(tmp_path / name).read_bytes() for name in ("metrics.jsonl", "eval.jsonl")] == whole


def test_a_torn_line_does_not_affect_others(tmp_path: Path) -> None:
    (tmp_path / "timing.jsonl").write_text('{"step": 1}\n{"step": 2, "sec')
    file = LineFile(tmp_path / "timing.jsonl")
    file.append({"step": 3})
    file.close()
    assert read_lines(tmp_path / "timing.jsonl") == [{"step": 1}, {"step": 3}]


def session(name: float, steps: int, seconds: float, **spent: float) -> SessionTiming:
    parts = dict.fromkeys(["compile", "input", "checkpoint", "evaluate"], 0.0) | spent
    line = {
        "step": steps, "unix": name + seconds, "units_per_second": 1.0,
        "session": name, "steps": steps, "units": 100 * steps, "flops": 1e6 * steps,
        "seconds": seconds, **{f"{part}_seconds": value for part, value in parts.items()},
        "memory_bytes": 1000 * steps, "device": "Imaginary v9", "devices": 2, "precision": "f32",
    }  # fmt: skip
    return SessionTiming.from_json(line)


def test_performance_sums_up_the_sessions_of_a_run() -> None:
    # By hand: a killed session of 10 s, 4 of them compiling; one of 5 s, 1 of them evaluating.
    lines = [
        session(1.0, 5, 6.0, compile=4.0),
        session(1.0, 30, 10.0, compile=4.0, checkpoint=0.5),
        session(2.0, 20, 5.0, evaluate=1.0, input=0.25),
    ]
    result = summarize(lines).to_json()
    assert result["sessions"] == 2
    assert result["seconds"] == 15
    assert result["steps"] == 50
    assert result["units_per_second"] == pytest.approx(5000 / (6 + 4))
    assert result["flops_per_second"] == pytest.approx(5e7 / (6 + 4))
    assert result["compile_seconds"] == 4
    assert result["checkpoint_seconds"] == 0.5
    assert result["memory_bytes"] == 30_000
    assert result["utilisation"] is None  # no such chip is known
    assert json.dumps(result)


@pytest.mark.parametrize("text", ["", "5", "5:5", "9:3", "a:b", "-1:4"])
def test_an_invalid_profile_says_what_to_write(text: str) -> None:
    with pytest.raises(ScalaxError, match="expected START:STOP") as error:
        Profile.parse(text)
    assert "--profile 10:15" in str(error.value)


def test_a_profile_past_the_end_is_refused_before_training() -> None:
    with pytest.raises(ScalaxError, match="ends after 100 steps"):
        Profile.parse("90:110").check(100)


def test_one_of_several_concurrent_runs_is_traced(tmp_path: Path) -> None:
    profile = Profile.parse("1:3")
    with profile.watch(tmp_path / "one") as step_of_one:
        with profile.watch(tmp_path / "other") as step_of_other:
            step_of_one(1, [])
            step_of_other(1, [])
            step_of_other(3, [])
        with jax.profiler.TraceAnnotation("while one is at it"):
            step_of_one(2, [])
        step_of_one(3, [])
        with jax.profiler.TraceAnnotation("when it is over"):
            step_of_one(4, [])
    (trace,) = tmp_path.rglob("*.xplane.pb")
    assert trace.is_relative_to(tmp_path / "one" / "profile")
    assert b"while one is at it" in trace.read_bytes()
    assert b"when it is over" not in trace.read_bytes()
