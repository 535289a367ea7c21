"""The commands of a sweep on a queued resource of Cloud TPU, as argument lists. Runs nothing.

The job runs detached on each worker, so that a lost connection, or a closed laptop, does not end
it: `start` begins it unless it is there, `follow` shows its log and ends with its exit code.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slices import Slice

PYTHON = "3.12"
"""The runtime images are Ubuntu 22.04, whose own Python, 3.10, is too old; uv brings this one."""

# Without these, a preempted machine, which closes no connection, would be waited for for ever.
_ALIVE = [
    "--ssh-flag=-oServerAliveInterval=15",
    "--ssh-flag=-oServerAliveCountMax=4",
    "--ssh-flag=-oConnectTimeout=20",
]
_RUNS = 'kill -0 "$(cat pid 2>/dev/null)" 2>/dev/null'
Command = list[str]


@dataclass(frozen=True)
class Job:
    """What runs where. Every method but `nodes` gives one command.

    Attributes:
        name: Of the queued resource, and of the folder on each worker.
        hardware: The slices.
        zone: Where it is.
        project: Google Cloud's project; gcloud's own by default.
        experiment: The experiment file.
        out: The gs:// folder of the results.
        package: What is installed: a requirement, or a wheel on this machine.
        files: More files that the run reads, each put beside the experiment.
        scalax_args: More arguments of `scalax run`.
        spot: Whether Google may take the slice back, at a lower price.
        internal_ips: Whether workers have no address outside the network.
        create_flags: More flags of ``queued-resources create``.
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
        """The slices' own names, as Cloud TPU forms them from ``--node-prefix``."""
        if self.hardware.slices == 1:
            return [self.name]
        return [f"{self.name}-{k}" for k in range(self.hardware.slices)]

    def create(self) -> Command:
        """Asks for the slices."""
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
            *self._place,
        ]

    def describe(self) -> Command:
        """Asks for the state of the request."""
        return [
            *("gcloud", "compute", "tpus", "queued-resources", "describe", self.name),
            *("--format=value(state.state)", *self._place),
        ]

    def describe_node(self, node: str) -> Command:
        """Asks for the state of one slice."""
        command = ["gcloud", "compute", "tpus", "tpu-vm", "describe", node]
        return [*command, "--format=value(state)", *self._place]

    def delete(self) -> Command:
        """Gives everything back; what it held is no longer billed."""
        return delete(self.name, self.zone, self.project)

    def make_folder(self, node: str) -> Command:
        """Makes the job's folder on every worker."""
        return self._on_workers(node, f"mkdir -p {self.name}")

    def copy(self, node: str) -> Command:
        """Puts the experiment and what it needs there."""
        wheel = local_wheel(self.package)
        return [
            *("gcloud", "compute", "tpus", "tpu-vm", "scp"),
            *(
                str(file.resolve())
                for file in [self.experiment, *self.files, *([wheel] if wheel else [])]
            ),
            *(f"{node}:{self.name}/", "--worker=all", *self._inside, *self._place),
        ]

    def install(self, node: str) -> Command:
        """Installs scalax on every worker that does not run it already."""
        wheel, uv = local_wheel(self.package), "python3 -m uv"
        package = f"./{wheel.name}[tpu]" if wheel else self.package
        return self._on_workers(
            node,
            f"cd {self.name} && {{ {_RUNS} || {{ python3 -m pip install --quiet --user uv"
            f" && {uv} venv --quiet --allow-existing --python {PYTHON} venv"
            f" && {uv} pip install --quiet --python venv/bin/python {shlex.quote(package)}; }}; }}",
        )

    def start(self, node: str) -> Command:
        """Begins the run, detached, on every worker that does not run it already."""
        run = run_command(self.experiment.name, self.out, self.scalax_args)
        # The trap keeps bash alive through a shutdown's SIGTERM until scalax has saved.
        script = f"trap : TERM; PYTHONUNBUFFERED=1 venv/bin/{run}; echo $? > code"
        return self._on_workers(
            node,
            f"cd {self.name} || exit; if {_RUNS}; then echo already running; exit; fi; "
            f"rm -f code; nohup setsid bash -c {shlex.quote(script)} > log 2>&1 < /dev/null & "
            "echo $! > pid",
        )

    def follow(self, node: str) -> Command:
        """Shows the log until the run ends, and ends with its exit code; 3 if it left none."""
        return self._on_workers(
            node,
            f'cd {self.name} && tail -n +1 -f --pid="$(cat pid)" log; '
            'exit "$(cat code 2>/dev/null || echo 3)"',
        )

    def _on_workers(self, node: str, command: str) -> Command:
        return [
            *("gcloud", "compute", "tpus", "tpu-vm", "ssh", node, "--worker=all"),
            *(f"--command={command}", *_ALIVE, *self._inside, *self._place),
        ]

    @property
    def _inside(self) -> Command:
        return ["--internal-ip"] if self.internal_ips else []

    @property
    def _place(self) -> Command:
        return place(self.zone, self.project)


def place(zone: str, project: str | None) -> Command:
    """The flags that say where."""
    return [f"--zone={zone}", *([f"--project={project}"] if project else [])]


def delete(name: str, zone: str, project: str | None) -> Command:
    """The command that deletes a queued resource and its slices."""
    command = ["gcloud", "compute", "tpus", "queued-resources", "delete", name]
    return [*command, "--force", "--quiet", *place(zone, project)]


def run_command(experiment: str, out: str, more: tuple[str, ...]) -> str:
    """The `scalax run` that every worker is given, as a shell reads it."""
    return shlex.join(["scalax", "run", experiment, "--out", out, *more])


def local_wheel(package: str) -> Path | None:
    """The file that `--package` names, where it is one of this machine."""
    return Path(package) if package.endswith(".whl") and "://" not in package else None


def steps(job: Job) -> list[tuple[str, Callable[[str], Command]]]:
    """What is done on every worker once the slices are there; the last one is the run itself."""
    return [
        ("On every worker: a folder,", job.make_folder),
        ("the experiment,", job.copy),
        ("scalax,", job.install),
        ("the run, detached;", job.start),
        ("and its log, to the end.", job.follow),
    ]
