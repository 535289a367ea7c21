"""Runs a sweep on a queued resource to its end: creates slices, runs, watches and restarts.

Exit codes 0 and 2 of `scalax run` end the job. After 143, or after a preemption, the same command
runs on a new slice. Other failures are retried a limited number of times.
"""

from __future__ import annotations

import shlex
import time

from queued_resource import Command, Job, steps
from shell import Shell

from scalax.errors import JobError

ACTIVE = "ACTIVE"
FINAL = {"FAILED", "SUSPENDED"}
"""States that a queued resource never leaves by itself. Sources: docs.cloud.google.com/tpu/docs/
queued-resources, and the states of google.cloud.tpu_v2, read 2026-11-24."""
TRIES = 5
"""Attempts of a query that gets no answer."""


def rehearse(job: Job, shell: Shell, *, delete_after: bool) -> None:
    """Prints each command that `drive` would run, in order, as a commented script."""
    shell.note("Does the slice exist already?")
    shell.run(job.describe())
    shell.note("If not: create it, then wait until it is ACTIVE.")
    shell.run(job.create())
    for title, step in steps(job):
        shell.note(title)
        shell.run(*map(step, job.nodes))
    shell.note("After an exit code other than 0, 2, 130 or 143: does the slice still exist?")
    shell.run(job.describe(), *map(job.describe_node, job.nodes))
    shell.note("After exit code 143 or a preemption: delete the rest and start from the top.")
    shell.run(job.delete())
    if delete_after:
        shell.note("At the end, after success or failure:")
        shell.run(job.delete())


def drive(job: Job, shell: Shell, *, retries: int, poll: float) -> int:
    """Runs a job to its end, through preemptions and failures.

    Args:
        job: The job.
        shell: Runs the commands.
        retries: Retries after failures; preemptions do not count.
        poll: Seconds between two checks of a waiting request, and before a retry.

    Returns:
        The exit code of `scalax run`.

    Raises:
        JobError: Google refused a request or does not answer, or someone deleted the slice.
    """
    failures, up = 0, False
    while True:
        up = _bring_up(job, shell, poll, lenient=up)
        code = _attempt(job, shell) if up else 3
        if code in (0, 2, 130):
            return code
        if up and (code == 143 or not _is_whole(job, shell, poll)):
            state = _state(job, shell, poll)
            if state in (None, "DELETING"):
                raise JobError(
                    "deleted during the run, by hand (a preemption leaves the request)",
                    where=job.name,
                    fix="repeat the command to create it again and resume",
                )
            shell.note(f"exit {code}, slice preempted: requesting another")
            if state == ACTIVE:
                _clear(job, shell, poll)
            continue
        failures += 1
        if failures > retries:
            return code
        what = f"exit {code} on a healthy slice" if up else "no slice available"
        shell.note(f"{what}: trying again, {failures} of {retries}")
        time.sleep(poll)


def _bring_up(job: Job, shell: Shell, poll: float, *, lenient: bool) -> bool:
    """Creates the slices if needed and waits for them; returns False if a request failed.

    A request that is refused at once raises an error, unless an equal one was accepted before
    (``lenient``).
    """
    requested, last_shown = False, ""
    while (state := _state(job, shell, poll)) != ACTIVE:
        if (shown := state or "does not exist yet") != last_shown:
            shell.note(f"{job.name}: {shown}")
            last_shown = shown
        if state in FINAL:
            _clear(job, shell, poll)
            if requested and state == "FAILED":
                return False
        elif state is not None:
            time.sleep(poll)
        elif lenient:
            requested = True
            if any(shell.run(job.create())):
                return False
        else:
            requested = True
            shell.run_checked(job.create())
    return True


def _clear(job: Job, shell: Shell, poll: float) -> None:
    """Deletes the request and its slices, which Google may be deleting at the same time."""
    for _ in range(TRIES):
        if _state(job, shell, poll) is None or not any(shell.run(job.delete())):
            return
        time.sleep(poll)
    raise JobError(
        f"not deleted in {TRIES} tries, still billed", where=job.name, fix=shlex.join(job.delete())
    )


def _attempt(job: Job, shell: Shell) -> int:
    """Installs and runs on every worker; returns the exit code that decides what comes next."""
    codes = [0]
    for title, step in steps(job):
        if any(codes):
            return 3  # the run itself did not start
        shell.note(title)
        codes = shell.run(*map(step, job.nodes))
    # When one slice is stopped, the others fail: its exit code takes precedence over theirs.
    return next((code for code in (143, 2) if code in codes), max(codes))


def _is_whole(job: Job, shell: Shell, poll: float) -> bool:
    """Returns whether no slice was preempted.

    A lost node is not always PREEMPTED, but never READY (skypilot-org/skypilot issue 1468).
    """
    return _state(job, shell, poll) == ACTIVE and all(
        _answer(job.describe_node(node), shell, poll) == "READY" for node in job.nodes
    )


def _state(job: Job, shell: Shell, poll: float) -> str | None:
    """Returns the state of the request; None if there is no request."""
    return _answer(job.describe(), shell, poll)


def _answer(command: Command, shell: Shell, poll: float) -> str | None:
    """Returns the answer to a query; None if the object does not exist."""
    for _ in range(TRIES):
        done = shell.read(command)
        if done.returncode == 0:
            return done.stdout.strip()
        if "NOT_FOUND" in done.stderr:
            return None
        time.sleep(poll)
    raise JobError(
        f"no answer in {TRIES} tries: {done.stderr.strip()}",
        where=shlex.join(command),
        fix="fix the reported problem and repeat the command; the job continues meanwhile",
    )
