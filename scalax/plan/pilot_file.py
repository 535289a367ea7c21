"""The experiment file of a plan: read by `scalax run`, and by a person."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from scalax.schema import parse
from scalax.sweep.experiment import Data, Experiment, Listed, ListedRun, Model, read_experiment

NAME = "plan"


def base_experiment(like: str | Path | None) -> Experiment:
    """The experiment whose data, model and training a plan takes: the quickstart's by default."""
    if like is not None:
        return read_experiment(like)
    return Experiment(
        name=NAME,
        data=Data.model_validate({"dataset": "stdlib", "seq_len": 128}),
        model=Model.model_validate({"family": "transformer", "tied": True}),
        sweep=Listed(kind="list", runs=[ListedRun(params=1.0, tokens=1.0)]),
    )


def experiment_text(
    base: Experiment,
    points: Sequence[tuple[float, float]],
    trunks: bool,
    budget: float,
    target: float,
    loss: Sequence[float],
    params: Sequence[float],
) -> str:
    """The file.

    Args:
        base: Gives data, model, training and seed.
        points: Size and tokens of each run.
        trunks: Whether runs of one size share a trunk.
        budget: FLOPs given.
        target: FLOPs of the forecast.
        loss: ``[low, high]`` expected at the target.
        params: The same for N*.
    """
    import tomlkit

    lines = [
        f"# Pilot runs for a forecast at {target:.4g} FLOPs, within {budget:.4g} FLOPs together.",
        f"# Expected there after them, at 90 %: loss {loss[0]:.4g} to {loss[1]:.4g}, "
        f"N* {params[0]:.3g} to {params[1]:.3g}.",
        "# Check it with: scalax run THIS_FILE --dry-run",
        f"seed = {base.seed}",
        "",
    ]
    kept = base.model_dump(exclude_none=True, exclude_defaults=True)
    for name in ("data", "model", "train"):
        if kept.get(name):
            lines += [f"[{name}]", tomlkit.dumps(kept[name]).rstrip(), ""]
    lines += ["[sweep]", 'kind = "list"', "runs = ["]
    for size, tokens in sorted(points):
        trunk = f', trunk = "n{size:.6g}-trunk"'.replace("e+0", "e").replace("e+", "e")
        lines.append(f"  {{ params = {size!r}, tokens = {tokens!r}{trunk if trunks else ''} }},")
    lines += ["]", "", "[fit]", 'law = "posterior"', ""]
    return "\n".join(lines)


def parse_text(text: str) -> Experiment:
    """The experiment that a text states, as `read_experiment` reads it from a file."""
    return parse(Experiment, {"name": NAME, **tomllib.loads(text)}, where="plan")
