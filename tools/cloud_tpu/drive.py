"""Sees a sweep on a queued resource through to its end: create, run, watch, start again.

Exit codes 0 and 2 of `scalax run` end it; 143, or a slice that Google took back, is answered by a
new slice and the same command; anything else is tried again a bounded number of times.
"""

from __future__ import annotations

import shlex
import time

from queued_resource import Command, Job, steps
from shell import Shell

from scalax.errors import JobError

ACTIVE = "ACTIVE"
OVER = {"FAILED", "SUSPENDED"}
"""States that a queued resource never leaves by itself: docs.cloud.google.com/tpu/docs/
queued-resources, and the states of google.cloud.tpu_v2, read 2026-11-24."""
TRIES = 5
"""How often Google is asked the same, where it does not answer, before giving up."""


def rehearse(job: Job, shell: Shell, *, delete_after: bool) -> None:
    """Prints each command that `drive` would run, in order, as a script with comments."""
    shell.note("Is it there already?")
    shell.run(job.describe())
    shell.note("If not: ask for it, then ask again until it is ACTIVE.")
    shell.run(job.create())
    for told, step in steps(job):
        shell.note(told)
        shell.run(*map(step, job.nodes))
    shell.note("After anything but exit 0, 2, 130 or 143: is the slice still there?")
    shell.run(job.describe(), *map(job.describe_node, job.nodes))
    shell.note("After exit 143, or once it is gone: delete what is left, and begin at the top.")
    shell.run(job.delete())
    if delete_after:
        shell.note("At the end, however it ends:")
        shell.run(job.delete())


def drive(job: Job, shell: Shell, *, retries: int, poll: float) -> int:
    """Sees a job through preemptions and failures to its end.

    Args:
        job: What runs where.
        shell: What runs commands.
        retries: How many failures that were no preemption are tried again.
        poll: Seconds between two looks at a request that waits, and before a retry.

    Returns:
        The exit code of `scalax run`.

    Raises:
        JobError: Google refused a request or does not answer, or somebody deleted the slice.
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
                    "deleted while the run was on (a preemption would have left the request)",
                    where=job.name,
                    fix="give the same command again to ask anew and go on",
                )
            shell.note(f"exit {code}, and the slice preempted: asking for another")
            if state == ACTIVE:
                _clear(job, shell, poll)
            continue
        failures += 1
        if failures > retries:
            return code
        what = f"exit {code} on a healthy slice" if up else "no slice to be had"
        shell.note(f"{what}: trying again, {failures} of {retries}")
        time.sleep(poll)


def _bring_up(job: Job, shell: Shell, poll: float, *, lenient: bool) -> bool:
    """Waits until the slices are there; False where a request made here failed.

    A request refused at once is an error in it, unless it was good before (`lenient`).
    """
    asked, told = False, ""
    while (state := _state(job, shell, poll)) != ACTIVE:
        if (seen := state or "not there yet") != told:
            shell.note(f"{job.name}: {seen}")
            told = seen
        if state in OVER:
            _clear(job, shell, poll)
            if asked and state == "FAILED":
                return False
        elif state is not None:
            time.sleep(poll)
        elif lenient:
            asked = True
            if any(shell.run(job.create())):
                return False
        else:
            asked = True
            shell.demand(job.create())
    return True


def _clear(job: Job, shell: Shell, poll: float) -> None:
    """Deletes the request and its slices, though Google may be at it itself."""
    for _ in range(TRIES):
        if _state(job, shell, poll) is None or not any(shell.run(job.delete())):
            return
        time.sleep(poll)
    raise JobError(
        f"not deleted in {TRIES} tries, and still billed", where=job.name, fix="delete it by hand"
    )


def _attempt(job: Job, shell: Shell) -> int:
    """Installs and runs on every worker; the exit code that decides what comes next."""
    codes = [0]
    for told, step in steps(job):
        if any(codes):
            return 3  # an installation that failed says nothing of the run
        shell.note(told)
        codes = shell.run(*map(step, job.nodes))
    # One slice told to stop makes the others fail: what it said goes before what they say.
    return next((code for code in (143, 2) if code in codes), max(codes))


def _is_whole(job: Job, shell: Shell, poll: float) -> bool:
    """Whether Google took nothing back.

    A node that was lost need not say PREEMPTED, only not READY (skypilot-org/skypilot issue 1468).
    """
    return _state(job, shell, poll) == ACTIVE and all(
        _answer(job.describe_node(node), shell, poll) == "READY" for node in job.nodes
    )


def _state(job: Job, shell: Shell, poll: float) -> str | None:
    """The state of the request; None where there is none."""
    return _answer(job.describe(), shell, poll)


def _answer(command: Command, shell: Shell, poll: float) -> str | None:
    """What a question is answered; None where the thing asked about does not exist."""
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
        fix="mend what it names and give the same command again: the job goes on meanwhile",
    )
