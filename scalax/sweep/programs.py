"""Compiled programs of a sweep: made when a group needs one, freed when no group needs it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from jax.sharding import Mesh

from scalax.models.base import ModelFamily
from scalax.sweep.plan import Group
from scalax.train.mesh import ensemble_mesh, make_mesh
from scalax.train.place import usable_devices
from scalax.train.program import Program
from scalax.train.settings import TrainSpec


class Programs:
    """A cache of compiled programs, shared by specs that differ in seed, schedule or learning rate.

    Thread-safe.

    Args:
        family: The model family.
    """

    def __init__(self, family: ModelFamily) -> None:
        self._family = family
        self._programs: dict[Hashable, dict[Mesh, Program]] = {}
        self._users: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def get(
        self, spec: TrainSpec, ensemble: int | None, devices: Sequence[Any] | None = None
    ) -> Program:
        """Returns the program that trains a spec.

        Args:
            spec: Settings of any run that it trains.
            ensemble: Number of runs that it trains together; None for one.
            devices: Devices to use; all usable ones by default.
        """
        mesh, key = choose_mesh(spec, ensemble, devices), _key(spec, ensemble)
        with self._lock:
            by_mesh = self._programs.setdefault(key, {})
            if mesh not in by_mesh:
                by_mesh[mesh] = Program(
                    self._family,
                    spec.shape,
                    spec.recipe,
                    spec.precision,
                    mesh,
                    recompute=spec.recompute,
                    accumulate=spec.accumulate,
                    skip_spikes=spec.skip_spikes,
                    members=ensemble,
                )
            return by_mesh[mesh]

    def reserve(self, groups: Iterable[Group]) -> None:
        """Keeps the programs of these groups until `release`, and frees all others."""
        with self._lock:
            self._users.update(_key(group.spec, group.ensemble) for group in groups)
            self._programs = {k: p for k, p in self._programs.items() if self._users[k] > 0}

    def release(self, group: Group) -> None:
        """Frees the programs of a group that has ended, unless another group needs them."""
        with self._lock:
            key = _key(group.spec, group.ensemble)
            self._users[key] -= 1
            if self._users[key] <= 0:
                self._programs.pop(key, None)
                del self._users[key]


def choose_mesh(
    spec: TrainSpec, ensemble: int | None, devices: Sequence[Any] | None = None
) -> Mesh:
    """Returns the mesh that a spec, or an ensemble of such specs, trains on.

    Args:
        spec: Settings of the run.
        ensemble: Number of runs trained together; None for one.
        devices: Devices to use; all usable ones by default.

    Raises:
        ScalaxError: The devices do not suit the mesh of the spec.
    """
    if ensemble is not None:
        return ensemble_mesh(ensemble, list(devices or usable_devices("auto", ensemble)))
    batch = spec.recipe.batch // spec.accumulate
    return make_mesh(spec.mesh, batch, devices or usable_devices(spec.mesh, batch))


def _key(spec: TrainSpec, ensemble: int | None) -> Hashable:
    """Returns the settings that are compiled into a program, except its mesh."""
    recipe = replace(spec.recipe, learning_rate=1.0, warmup=0.0)
    options = spec.recompute, spec.accumulate, spec.skip_spikes
    return spec.shape, recipe, spec.precision, options, ensemble
