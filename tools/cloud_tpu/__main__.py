"""Runs a sweep on Cloud TPU: creates the slices, runs the sweep and deletes the slices.

    python tools/cloud_tpu run experiments/mine.toml --slice v5e-16 --zone us-west4-a \
        --out gs://my-bucket/mine --delete --dry-run

It calls the user's own `gcloud` and `kubectl`. The guide is docs/cloud-tpu.md.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jobset as gke
from drive import drive, rehearse
from queued_resource import Job, delete, local_wheel
from shell import Shell
from slices import Slice, parse_slice

from scalax.errors import ScalaxError

PACKAGE = "scalax-laws[tpu]"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Example:
  python tools/cloud_tpu run experiments/quickstart.toml --slice v5e-16 \\
      --zone us-west4-a --out gs://BUCKET/quickstart --delete --dry-run""",
)
def cli() -> None:
    """Run sweeps on Cloud TPU, and restart them after preemptions."""


def _distinct(files: tuple[Path, ...]) -> tuple[Path, ...]:
    names = [file.name for file in files]
    for name in names:
        if names.count(name) > 1:
            raise ScalaxError(f"two files are called {name}", where="--copy", fix="rename one")
    return files


def _bucket(out: str) -> str:
    if not re.fullmatch(r"gs://[^/]+/.+", out):
        raise ScalaxError(
            f"expected gs://BUCKET/FOLDER, got {out!r}",
            where="--out",
            fix="write a folder of a bucket: the disk of a worker is deleted with the worker",
        )
    return out


def _name(name: str) -> str:
    if re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name) is None:
        raise ScalaxError(
            f"expected a letter, then up to 39 small letters, digits or hyphens, got {name!r}",
            where="--name",
            fix="write --name my-sweep",
        )
    return name


def _named(name: str | None, experiment: Path) -> str:
    """Returns the given name, or one made from the name of the experiment file."""
    stem = re.sub(r"[^a-z0-9]+", "-", experiment.stem.lower())
    return _name(f"scalax-{stem}"[:40].strip("-") if name is None else name)


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the arguments and options that `run` and `jobset` share."""
    for decorate in (
        click.option("--dry-run", is_flag=True, help="Print every command without running it."),
        click.option(
            "--retries",
            type=click.IntRange(0),
            default=3,
            show_default=True,
            help="Retries after failures. Preemptions are always retried.",
        ),
        click.option(
            "--spot/--on-demand",
            default=True,
            show_default=True,
            help="Spot: cheaper, preemptible. On demand: not preemptible.",
        ),
        click.option(
            "--copy",
            "files",
            multiple=True,
            type=_FILE,
            callback=lambda ctx, param, value: _distinct(value),
            help="Another file that the run reads, copied with it; repeatable.",
        ),
        click.option("--name", help="Name of the slice or JobSet; scalax-EXPERIMENT by default."),
        click.option(
            "--out",
            required=True,
            metavar="gs://",
            callback=lambda ctx, param, value: _bucket(value),
            help="Folder of the results, gs://BUCKET/FOLDER.",
        ),
        click.option(
            "--slice",
            "hardware",
            required=True,
            metavar="SLICE",
            callback=lambda ctx, param, value: parse_slice(value),
            help="v5e-16, v5p-128, or 2xv5e-256 for two connected slices.",
        ),
        click.argument("scalax_args", nargs=-1),
        click.argument("experiment", type=_FILE),
    ):
        command = decorate(command)
    return command


_zone = click.option("--zone", required=True, help="Zone, such as us-west4-a.")
_project = click.option("--project", help="Google Cloud project; gcloud's own by default.")
_EPILOG = "Arguments after -- are passed to scalax run, such as: -- --profile 10:15"


@cli.command(epilog=_EPILOG)
@_shared
@_zone
@_project
@click.option(
    "--package",
    default=PACKAGE,
    show_default=True,
    help="Package that workers install: a requirement, or a local wheel.",
)
@click.option("--internal-ips", is_flag=True, help="Give workers no external address.")
@click.option(
    "--create-flag",
    "create_flags",
    multiple=True,
    help="Another flag of queued-resources create; repeatable.",
)
@click.option("--delete", "delete_after", is_flag=True, help="Delete the slices at the end.")
@click.option(
    "--poll",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    help="Seconds between two checks of the state.",
)
def run(
    experiment: Path,
    name: str | None,
    package: str,
    dry_run: bool,
    delete_after: bool,
    retries: int,
    poll: float,
    **settings: Any,
) -> None:
    """Run EXPERIMENT on a queued resource.

    Creates the slices, installs scalax, runs the sweep, and restarts it after preemptions. Repeat
    the command to resume: it reuses an existing slice and all results so far.
    """
    if (wheel := local_wheel(package)) and not wheel.is_file():
        raise ScalaxError(
            "no such file", where=f"--package {wheel}", fix="pip wheel --no-deps --wheel-dir dist ."
        )
    job = Job(_named(name, experiment), experiment=experiment, package=package, **settings)
    shell = Shell("gcloud", dry_run=dry_run)
    if dry_run:
        rehearse(job, shell, delete_after=delete_after)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    billed = f"the slice is still billed; to delete it: {shlex.join(job.delete())}"
    try:
        code = drive(job, shell, retries=retries, poll=poll)
    except (KeyboardInterrupt, SystemExit):
        shell.note("detached: the job continues; repeat the command to watch it")
        shell.note(billed)
        raise
    shell.note(f"ended with exit code {code}; results: {job.out}")
    if delete_after:
        shell.run_checked(job.delete())
    else:
        shell.note(billed)
    sys.exit(code)


@cli.command("delete")
@click.argument("name")
@_zone
@_project
@click.option("--dry-run", is_flag=True, help="Print the command without running it.")
def delete_command(name: str, zone: str, project: str | None, dry_run: bool) -> None:
    """Delete the queued resource NAME and its slices.

    Results in the bucket stay.
    """
    Shell("gcloud", dry_run=dry_run).run_checked(delete(_name(name), zone, project))


@cli.command(epilog=_EPILOG)
@_shared
@click.option("--package", help=f"Package that pods install first; {PACKAGE} without --image.")
@click.option("--image", help=f"Image that contains scalax; {gke.IMAGE} by default.")
@click.option("--service-account", help="Kubernetes service account that may write to the bucket.")
def jobset(
    experiment: Path,
    name: str | None,
    hardware: Slice,
    spot: bool,
    package: str | None,
    image: str | None,
    dry_run: bool,
    **settings: Any,
) -> None:
    """Run EXPERIMENT as a JobSet on GKE.

    Uses the current cluster of kubectl.
    """
    name = _named(name, experiment)
    built = gke.manifest(
        name=name,
        experiment=experiment,
        hardware=hardware,
        spot=spot,
        package=package or (None if image else PACKAGE),
        image=image or gke.IMAGE,
        **settings,
    )
    shell = Shell("kubectl", dry_run=dry_run)
    shell.note(
        f"needs {hardware.slices} node pool(s) of {hardware.machines} node(s) each: "
        f"--machine-type={hardware.machine_type} --tpu-topology={hardware.topology} "
        f"--num-nodes={hardware.machines}{' --spot' if spot else ''}"
    )
    shell.run_checked(["kubectl", "apply", "--filename=-"], stdin=json.dumps(built, indent=1))
    label = f"jobset.sigs.k8s.io/jobset-name={name}"
    shell.note(f"to watch: kubectl logs --follow --prefix --selector={label}")
    shell.note(f"to end it: kubectl delete jobset,configmap {name}; then delete the node pools")


def main() -> None:
    """Runs the command line and exits: 0 done, 2 wrong use, 3 failed, 130 interrupted."""
    try:
        cli.main(prog_name="python tools/cloud_tpu", standalone_mode=False)
    except ScalaxError as error:
        click.echo(f"cloud_tpu: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


if __name__ == "__main__":
    main()
