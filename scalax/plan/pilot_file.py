"""Writes a plan as an experiment file for `scalax run`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from scalax.schema import parse
from scalax.sweep.experiment import Data, Experiment, Listed, ListedRun, Model, read_experiment

NAME = "plan"


def base_experiment(like: str | Path | None) -> Experiment:
    """Returns the experiment that gives data, model and training; by default the quickstart's."""
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
    """Returns the text of the experiment file.

    Args:
        base: Experiment whose data, model, training and seed the plan uses.
        points: Params and tokens of each run.
        trunks: Whether runs of the same size share a trunk.
        budget: Total FLOPs allowed.
        target: FLOPs at which to forecast.
        loss: ``[low, high]`` expected for the loss at the target.
        params: ``[low, high]`` expected for N* at the target.
    """
    import tomlkit

    lines = [
        f"# Pilot runs for a forecast at {target:.4g} FLOPs, with {budget:.4g} FLOPs in total.",
        f"# Expected at the target after these runs, at 90 %: loss {loss[0]:.4g} to {loss[1]:.4g}, "
        f"N* {params[0]:.3g} to {params[1]:.3g}.",
        "# Check it with: scalax run THIS_FILE --dry-run",
        f"seed = {base.seed}",
        "",
    ]
    sections = base.model_dump(exclude_none=True, exclude_defaults=True)
    for name in ("data", "model", "train"):
        if sections.get(name):
            lines += [f"[{name}]", tomlkit.dumps(sections[name]).rstrip(), ""]
    lines += ["[sweep]", 'kind = "list"', "runs = ["]
    for size, tokens in sorted(points):
        trunk = f', trunk = "n{size:.6g}-trunk"'.replace("e+0", "e").replace("e+", "e")
        lines.append(f"  {{ params = {size!r}, tokens = {tokens!r}{trunk if trunks else ''} }},")
    lines += ["]", "", "[fit]", 'law = "posterior"', ""]
    return "\n".join(lines)


def parse_text(text: str) -> Experiment:
    """Parses the text of an experiment file, as `read_experiment` does with a file."""
    return parse(Experiment, {"name": NAME, **tomllib.loads(text)}, where="plan")
