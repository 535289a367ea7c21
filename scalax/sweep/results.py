"""The results of a sweep's runs, in memory, in result.json files and in runs.csv.

Results are read once, at the start. A run's end costs one write of its result.json and one
appended line of runs.csv, however many runs have ended before.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path

from scalax.distributed.hosts import Hosts
from scalax.files import write_json
from scalax.runs.csv_writer import RunsFile
from scalax.runs.schema import RunResult, RunRow
from scalax.sweep.plan import Group, Plan, Run

_FILE = "result.json"


class Results:
    """Results of the runs and trunks of a sweep, by name.

    Args:
        folder: The sweep's folder.
        plan: Its runs.
        hosts: The processes of the job; only process 0 writes files.
        shared: Whether other jobs add results to the same folder.
    """

    def __init__(
        self, folder: Path, plan: Plan, hosts: Hosts | None = None, *, shared: bool = False
    ) -> None:
        self._folder, self._plan = folder, plan
        self._hosts, self._shared = hosts or Hosts(), shared
        self._results: dict[str, RunResult] = {}
        self._table = RunsFile(folder / "runs.csv")
        self._lock = threading.Lock()

    def load(self) -> None:
        """Reads all results that the folder has, and completes runs.csv with them."""
        for group in (*self._plan.groups, *self._plan.checks):
            self._read(_names(group))
        if self._results and not (self._shared and self._table.adopt()):
            self.write_table()

    def get(self, name: str) -> RunResult | None:
        """Returns the result of a run or of a diverged trunk; None while there is none."""
        return self._results.get(name)

    def has_all(self, group: Group) -> bool:
        """Returns whether all runs of a group have ended, in this job or in another one."""
        if self._shared:
            self._read(_names(group))
        return all(run.name in self._results for run in group.runs)

    def refresh(self) -> None:
        """Reads the results that other jobs have added to a shared folder."""
        if self._shared:
            self._read(run.name for run in self._plan.runs)

    def store(self, name: str, result: RunResult) -> None:
        """Writes the result.json of a run, or of a trunk that diverged; called on every process.

        Raises:
            JobError: The disk is full.
            ScalaxError: The file cannot be written.
        """
        self._hosts.on_first(lambda: write_json(self._path(name), result.to_json()))
        self._results[name] = result

    def append_row(self, run: Run) -> None:
        """Appends the row of a run that has a stored result to runs.csv; raises as `store`."""
        if not self._hosts.first:
            return
        row = run.row(self._plan.data).with_result(self._results[run.name]).to_dict()
        with self._lock:
            if not self._table.append(row):
                self._table.write(self._records())

    def rows(self) -> list[RunRow]:
        """Returns the rows of the runs that have ended, in the order of the plan."""
        pairs = ((run, self._results.get(run.name)) for run in self._plan.runs)
        return [run.row(self._plan.data).with_result(result) for run, result in pairs if result]

    def write_table(self) -> None:
        """Rewrites runs.csv with all rows in the order of the plan; raises as `store`."""
        if self._hosts.first:
            with self._lock:
                self._table.write(self._records())

    def _records(self) -> list[dict[str, object]]:
        return [row.to_dict() for row in self.rows()]

    def _read(self, names: Iterable[str]) -> None:
        """Reads the result.json files of the named runs that are not in memory."""
        for name in names:
            file = self._path(name)
            if name not in self._results and file.is_file():
                values = json.loads(file.read_text(encoding="utf-8"))
                self._results[name] = RunResult.from_json(values)

    def _path(self, name: str) -> Path:
        return self._folder / "runs" / name / _FILE


def _names(group: Group) -> list[str]:
    """Returns the names of a group's trunks and runs."""
    return [trunk.name for trunk in group.trunks] + [run.name for run in group.runs]
