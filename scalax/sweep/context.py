"""The settings and services that all runs of a sweep share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scalax.data.base import OpenDataset
from scalax.distributed.hosts import Hosts
from scalax.models.base import ModelFamily
from scalax.sweep.experiment import Train
from scalax.sweep.progress import Reporter
from scalax.train.profile import Profile


@dataclass(frozen=True)
class SweepContext:
    """The settings and services that all runs of a sweep share.

    Attributes:
        folder: The sweep's folder; each run has a folder in its ``runs``.
        family: The model family.
        data: The dataset.
        train: The ``[train]`` section.
        progress: Receives the progress of the runs.
        stop: Returns whether to save and stop; called at each step.
        profile: The steps to trace.
        hosts: The processes that train each run together; only process 0 writes results.
        failed: Set when a group fails: groups that train at the same time then save and stop.
    """

    folder: Path
    family: ModelFamily
    data: OpenDataset
    train: Train
    progress: Reporter
    stop: Callable[[], bool]
    profile: Profile = field(default_factory=Profile)
    hosts: Hosts = field(default_factory=Hosts)
    failed: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def stopping(self) -> bool:
        """Returns whether runs must save and stop."""
        return self.stop() or self.failed.is_set()

    def run_folder(self, name: str) -> Path:
        """Returns the folder of a run or a trunk."""
        return self.folder / "runs" / name
