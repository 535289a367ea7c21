"""Builds the commands of a sweep on a queued resource of Cloud TPU, as argument lists.

The job runs detached on each worker, so that a lost connection does not end it: `start` starts it
unless it is running, `follow` shows its log and exits with its exit code.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slices import Slice

PYTHON = "3.12"
"""Python version, installed by uv: that of the runtime images (Ubuntu 22.04), 3.10, is too old."""

# A preempted machine closes no connection; without these, SSH would wait forever.
_ALIVE = [
    "--ssh-flag=-oServerAliveInterval=15",
    "--ssh-flag=-oServerAliveCountMax=4",
    "--ssh-flag=-oConnectTimeout=20",
]
_RUNS = 'kill -0 "$(cat pid 2>/dev/null)" 2>/dev/null'
Command = list[str]


@dataclass(frozen=True)
class Job:
    """A sweep on a queued resource. Every method but `nodes` returns one command.

    Attributes:
        name: Name of the queued resource, and of the folder on each worker.
        hardware: The slices.
        zone: Zone of Google Cloud.
        project: Project of Google Cloud; gcloud's own by default.
        experiment: The experiment file.
        out: The gs:// folder of the results.
        package: Package to install: a requirement, or a local wheel.
        files: Other files that the run reads, copied beside the experiment.
        scalax_args: Other arguments of `scalax run`.
        spot: Whether to use preemptible slices, at a lower price.
        internal_ips: Whether workers have no external address.
        create_flags: Other flags of ``queued-resources create``.
    """

    name: str
    hardware: Slice
    zone: str
    project: str | None
    experiment: Path
    out: str
    package: str
    files: tuple[Path, ...] = ()
    scalax_args: tuple[str, ...] = ()
    spot: bool = True
    internal_ips: bool = False
    create_flags: tuple[str, ...] = ()

    @property
    def nodes(self) -> list[str]:
        """The names of the slices, as Cloud TPU forms them from ``--node-prefix``."""
        if self.hardware.slices == 1:
            return [self.name]
        return [f"{self.name}-{k}" for k in range(self.hardware.slices)]

    def create(self) -> Command:
        """Requests the slices."""
        single = self.hardware.slices == 1
        return [
            *("gcloud", "compute", "tpus", "queued-resources", "create", self.name),
            *([f"--node-id={self.name}"] if single else []),
            *([] if single else [f"--node-count={self.hardware.slices}"]),
            *([] if single else [f"--node-prefix={self.name}"]),
            f"--accelerator-type={self.hardware.accelerator_type}",
            f"--runtime-version={self.hardware.runtime}",
            *(["--spot"] if self.spot else []),
            *(["--internal-ips"] if self.internal_ips else []),
            *self.create_flags,
            *self._location,
        ]

    def describe(self) -> Command:
        """Queries the state of the request."""
        return [
            *("gcloud", "compute", "tpus", "queued-resources", "describe", self.name),
            *("--format=value(state.state)", *self._location),
        ]

    def describe_node(self, node: str) -> Command:
        """Queries the state of one slice."""
        command = ["gcloud", "compute", "tpus", "tpu-vm", "describe", node]
        return [*command, "--format=value(state)", *self._location]

    def delete(self) -> Command:
        """Deletes the request and its slices, which ends their billing."""
        return delete(self.name, self.zone, self.project)

    def make_folder(self, node: str) -> Command:
        """Creates the job's folder on every worker."""
        return self._on_workers(node, f"mkdir -p {self.name}")

    def copy(self, node: str) -> Command:
        """Copies the experiment and its files to every worker."""
        wheel = local_wheel(self.package)
        return [
            *("gcloud", "compute", "tpus", "tpu-vm", "scp"),
            *(
                str(file.resolve())
                for file in [self.experiment, *self.files, *([wheel] if wheel else [])]
            ),
            *(f"{node}:{self.name}/", "--worker=all", *self._internal, *self._location),
        ]

    def install(self, node: str) -> Command:
        """Installs scalax on every worker on which the job is not running."""
        wheel, uv = local_wheel(self.package), "python3 -m uv"
        package = f"./{wheel.name}[tpu]" if wheel else self.package
        return self._on_workers(
            node,
            f"cd {self.name} && {{ {_RUNS} || {{ python3 -m pip install --quiet --user uv"
            f" && {uv} venv --quiet --allow-existing --python {PYTHON} venv"
            f" && {uv} pip install --quiet --python venv/bin/python {shlex.quote(package)}; }}; }}",
        )

    def start(self, node: str) -> Command:
        """Starts the run, detached, on every worker on which it is not running."""
        run = run_command(self.experiment.name, self.out, self.scalax_args)
        # The trap keeps bash alive after the SIGTERM of a shutdown until scalax has saved.
        script = f"trap : TERM; PYTHONUNBUFFERED=1 venv/bin/{run}; echo $? > code"
        return self._on_workers(
            node,
            f"cd {self.name} || exit; if {_RUNS}; then echo already running; exit; fi; "
            f"rm -f code; nohup setsid bash -c {shlex.quote(script)} > log 2>&1 < /dev/null & "
            "echo $! > pid",
        )

    def follow(self, node: str) -> Command:
        """Shows the log until the run ends; exits with its exit code, or 3 if it left none."""
        return self._on_workers(
            node,
            f'cd {self.name} && tail -n +1 -f --pid="$(cat pid)" log; '
            'exit "$(cat code 2>/dev/null || echo 3)"',
        )

    def _on_workers(self, node: str, command: str) -> Command:
        return [
            *("gcloud", "compute", "tpus", "tpu-vm", "ssh", node, "--worker=all"),
            *(f"--command={command}", *_ALIVE, *self._internal, *self._location),
        ]

    @property
    def _internal(self) -> Command:
        return ["--internal-ip"] if self.internal_ips else []

    @property
    def _location(self) -> Command:
        return location_flags(self.zone, self.project)


def location_flags(zone: str, project: str | None) -> Command:
    """Returns the flags of zone and project."""
    return [f"--zone={zone}", *([f"--project={project}"] if project else [])]


def delete(name: str, zone: str, project: str | None) -> Command:
    """Returns the command that deletes a queued resource and its slices."""
    command = ["gcloud", "compute", "tpus", "queued-resources", "delete", name]
    return [*command, "--force", "--quiet", *location_flags(zone, project)]


def run_command(experiment: str, out: str, more: tuple[str, ...]) -> str:
    """Returns the `scalax run` command of every worker, quoted for a shell."""
    return shlex.join(["scalax", "run", experiment, "--out", out, *more])


def local_wheel(package: str) -> Path | None:
    """Returns the file of `--package` if it is a local wheel."""
    return Path(package) if package.endswith(".whl") and "://" not in package else None


def steps(job: Job) -> list[tuple[str, Callable[[str], Command]]]:
    """Returns title and command of each step on the workers; the last step follows the run."""
    return [
        ("On every worker: create a folder,", job.make_folder),
        ("copy the experiment,", job.copy),
        ("install scalax,", job.install),
        ("start the run, detached,", job.start),
        ("and follow its log to the end.", job.follow),
    ]
