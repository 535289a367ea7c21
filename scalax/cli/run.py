"""`scalax run`: an experiment, from its file to its report."""

from __future__ import annotations

import signal
import sys

import click

from scalax.cli.app import is_terminal, json_option, plugin_option, print_json, say, table, warn


@click.command(
    epilog="Example: scalax run experiments/quickstart.toml --set sweep.params=[20000,40000]"
)
@click.argument("experiment", type=click.Path())
@click.option("--out", metavar="DIR|gs://", help="Where results go; out/NAME by default.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change one setting, its value in TOML; may be given again.",
)
@click.option(
    "--coordinator",
    metavar="HOST:PORT",
    help="On several hosts: a free port of process 0. Cloud TPU, GKE and SLURM need none of these.",
)
@click.option("--process-id", type=int, metavar="I", help="Which process this is, from 0.")
@click.option("--num-processes", type=int, metavar="N", help="How many there are.")
@click.option(
    "--profile", metavar="START:STOP", help="Trace these steps of the first run that has them."
)
@click.option(
    "--compile-cache",
    metavar="DIR|gs://",
    help="Where compiled steps are kept for the next start; scalax's cache by default.",
)
@click.option(
    "--share",
    is_flag=True,
    help="Let other jobs started so, on any machines that see the folder, take runs from it too.",
)
@click.option(
    "--lease-seconds",
    type=click.FloatRange(min=1),
    metavar="S",
    help="With --share: a job silent for so long is taken over; 60 by default.",
)
@click.option("--dry-run", is_flag=True, help="Check the file and print the plan; train nothing.")
@json_option
@plugin_option
def run(
    experiment: str,
    out: str | None,
    overrides: tuple[str, ...],
    coordinator: str | None,
    process_id: int | None,
    num_processes: int | None,
    profile: str | None,
    compile_cache: str | None,
    share: bool,
    lease_seconds: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train the sweep that EXPERIMENT states, fit it, test the forecast, write a report.

    Started again on the same folder it goes on where it stopped. On several hosts give the same
    command on each: they train every run together. With --share, machines that know nothing of each
    other divide the runs of one folder.
    """
    from scalax.distributed import lease as leases
    from scalax.distributed.cluster import parse_cluster
    from scalax.distributed.stopping import Stopped
    from scalax.report.outcome_text import outcome_lines
    from scalax.sweep.format_plan import plan_json, plan_rows, plan_summary
    from scalax.sweep.progress import Bars, Lines
    from scalax.sweep.run import prepare, run_prepared
    from scalax.train.profile import Profile

    if lease_seconds is not None and not share:
        raise click.UsageError("--lease-seconds is of --share: give both")
    asked_profile = None if profile is None else Profile.parse(profile)
    cluster = parse_cluster(coordinator, process_id, num_processes)
    prepared = prepare(experiment, overrides)
    plan = prepared.plan
    if dry_run:
        if as_json:
            print_json(plan_json(plan))
        else:
            table(*plan_rows(plan))
            click.echo(plan_summary(plan))
        return
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda which, frame: _ask(asked, which))
    reporter = Bars() if is_terminal() else Lines()
    try:
        outcome = run_prepared(
            prepared,
            out,
            reporter=reporter,
            stop=lambda: bool(asked),
            cluster=cluster,
            profile=asked_profile,
            compile_cache=compile_cache,
            share_seconds=(lease_seconds or leases.SECONDS) if share else None,
        )
    except Stopped:
        say(f"stopped and saved; the same command goes on: scalax run {experiment}")
        sys.exit(128 + (asked[0] if asked else signal.SIGTERM))  # or another host was told
    finally:
        if isinstance(reporter, Bars):
            reporter.close()
    if outcome is None:  # process 0 tells, or the job that ended the sweep
        return
    warn(outcome.notes)
    if as_json:
        print_json(outcome.to_json())
        return
    for line in outcome_lines(outcome):
        click.echo(line)


def _ask(asked: list[int], which: int) -> None:
    """The first signal saves and stops; a second of the same kind does not wait for it."""
    if asked:
        raise KeyboardInterrupt
    asked.append(which)
