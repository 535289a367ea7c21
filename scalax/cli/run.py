"""`scalax run`: trains the sweep of an experiment file, fits it and writes a report."""

from __future__ import annotations

import signal
import sys

import click

from scalax.cli.app import is_terminal, json_option, plugin_option, print_json, say, table, warn


@click.command(
    epilog="""\b
Examples:
  scalax run experiments/quickstart.toml
  scalax run experiments/quickstart.toml --dry-run
  scalax run experiments/quickstart.toml --set "sweep.params=[2e4, 4e4]"
  scalax run experiments/quickstart.toml --set "train.precision='bf16'"
"""
)
@click.argument("experiment", type=click.Path())
@click.option("--out", metavar="DIR|gs://", help="Folder for the results; out/NAME by default.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change a setting; the value is TOML. Repeatable.",
)
@click.option(
    "--coordinator",
    metavar="HOST:PORT",
    help="Address of process 0 of several hosts; detected on Cloud TPU, GKE and SLURM.",
)
@click.option("--process-id", type=int, metavar="I", help="Index of this process, from 0 to N - 1.")
@click.option("--num-processes", type=int, metavar="N", help="Number of processes.")
@click.option(
    "--profile",
    metavar="START:STOP",
    help="Profile these steps of the first run that reaches them.",
)
@click.option(
    "--compile-cache",
    metavar="DIR|gs://",
    help="Folder of compiled programs, reused at the next start; scalax's cache by default.",
)
@click.option(
    "--share",
    is_flag=True,
    help="Share the runs with other jobs that use the same folder and --share.",
)
@click.option(
    "--lease-seconds",
    type=click.FloatRange(min=1),
    metavar="S",
    help="With --share: seconds of silence before a job is taken over; 60 by default.",
)
@click.option("--dry-run", is_flag=True, help="Check the file and print the plan without training.")
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
    """Train a sweep, fit a law, test its forecast and report.

    EXPERIMENT is a TOML file. Run the same command again to continue a sweep that was stopped.

    To train each run on several hosts, run the same command on every host. To divide the runs
    among machines that are not connected, run it with --share on each of them.
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
        raise click.UsageError("--lease-seconds requires --share: add --share, or leave it out")
    steps_to_trace = None if profile is None else Profile.parse(profile)
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
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, frame: _on_signal(signals, received))
    reporter = Bars() if is_terminal() else Lines()
    try:
        outcome = run_prepared(
            prepared,
            out,
            reporter=reporter,
            stop=lambda: bool(signals),
            cluster=cluster,
            profile=steps_to_trace,
            compile_cache=compile_cache,
            share_seconds=(lease_seconds or leases.SECONDS) if share else None,
        )
    except Stopped:
        say(f"stopped and saved; continue with the same command: scalax run {experiment}")
        # Without a signal here, another host received it.
        sys.exit(128 + (signals[0] if signals else signal.SIGTERM))
    finally:
        if isinstance(reporter, Bars):
            reporter.close()
    if outcome is None:  # process 0, or the job that finishes the sweep, prints the outcome
        return
    warn(outcome.notes)
    if as_json:
        print_json(outcome.to_json())
        return
    for line in outcome_lines(outcome):
        click.echo(line)


def _on_signal(signals: list[int], received: int) -> None:
    """Records the first signal, so that the sweep saves and stops; a second one interrupts it."""
    if signals:
        raise KeyboardInterrupt
    signals.append(received)
