"""``[sweep.axes]``: one experiment for each combination of the values of its axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from scalax.errors import ScalaxError, suggest
from scalax.schema import parse
from scalax.sweep.experiment import SHARED_SETTINGS, Experiment, Train


def variants(experiment: Experiment) -> list[tuple[dict[str, Any], Experiment]]:
    """Returns the experiment once for each combination of the axes' values.

    Returns:
        Pairs of the values by column name and the experiment with these values, which its schema
        has checked. Without axes, the experiment itself.

    Raises:
        ScalaxError: An axis names no setting, or a value does not suit it.
    """
    axes = experiment.sweep.axes
    paths = [_setting_path(key) for key in axes]
    names = [path[-1] for path in paths]
    result = []
    for values in itertools.product(*axes.values()):
        tree = experiment.model_dump()
        for path, value in zip(paths, values, strict=True):
            section = tree
            for part in path[:-1]:
                section = section[part]
            section[path[-1]] = value
        variant = parse(Experiment, tree, where="sweep.axes")
        result.append((dict(zip(names, values, strict=True)), variant))
    return result


def check_per_run(keys: Iterable[str], where: str) -> None:
    """Rejects settings that all runs of a sweep share."""
    for key in set(keys) & set(SHARED_SETTINGS):
        raise ScalaxError(
            f"all runs of a sweep share {key}", where=where, fix=f"set it once: train.{key}"
        )


def _setting_path(key: str) -> list[str]:
    """Returns the keys that lead to a setting of the experiment."""
    if key in ("seed", "seeds"):
        return ["seed"]
    section, dot, rest = key.partition(".")
    check_per_run([key, rest], f"sweep.axes.{key}")
    if key in Train.model_fields:
        return ["train", key]
    if dot and section in ("train", "model") and rest:
        return [section, rest]
    if dot and section == "data":
        raise ScalaxError(
            "a sweep reads one dataset, opened once",
            where=f"sweep.axes.{key}",
            fix="write one experiment for each dataset",
        )
    raise ScalaxError(
        "unknown setting",
        where=f"sweep.axes.{key}",
        fix=suggest(
            key, ["seed", *Train.model_fields], otherwise="write model.KEY for a key of the family"
        ),
    )
