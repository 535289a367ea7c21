"""A lease has one named holder at a time, and is taken over only when the holder is dead."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import scalax.distributed.lease as leases
from scalax.errors import JobError

HOLD = """
import sys, time
from scalax.distributed.lease import acquire
lease = acquire(sys.argv[1], seconds=float(sys.argv[2]))
print("taken", flush=True)
sys.stdin.readline()
print("held" if lease.held else "lost", flush=True)
try:
    lease.check()
except Exception as error:
    print(error, flush=True)
"""

CONTEND = """
import os, sys, time
from pathlib import Path
from scalax.distributed.lease import acquire
place, flag, taken, until = sys.argv[1], Path(sys.argv[2]), 0, time.monotonic() + 1.5
while time.monotonic() < until:
    lease = acquire(place)
    if lease is not None:
        flag.touch(exist_ok=False)  # an error where another holds it too
        time.sleep(0.003)
        flag.unlink()
        lease.release()
        taken += 1
print(taken)
"""


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The path of a lease: in a local folder that does not exist yet, and in a bucket."""
    if request.param == "folder":
        return str(tmp_path / "sweep" / ".lease")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}/.lease"


def holding(place: str, seconds: float) -> subprocess.Popen[str]:
    """A process that holds a lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, place, str(seconds)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


def wait_to_take(place: str) -> tuple[leases.Lease, float]:
    """Acquires a lease as soon as possible; returns it and the seconds of waiting."""
    began = time.monotonic()
    while (lease := leases.acquire(place, seconds=1)) is None:
        assert time.monotonic() < began + 20
        time.sleep(0.05)
    return lease, time.monotonic() - began


def test_a_lease_has_one_named_holder_who_can_release_it(place: str) -> None:
    assert leases.holder(place) is None
    with leases.acquire(place, who="process 12 on host-a") as lease:
        assert lease.held
        assert leases.acquire(place) is None
        named = leases.holder(place)
        assert re.fullmatch(r"process 12 on host-a since \d{4}-\d\d-\d\d [\d:]{8} UTC", named)
    assert leases.holder(place) is None
    leases.acquire(place).release()


def test_it_is_renewed_for_as_long_as_the_holder_is_alive(place: str) -> None:
    with leases.acquire(place, seconds=0.8) as lease:
        time.sleep(2)
        assert lease.held
        lease.check()
        assert leases.acquire(place, seconds=0.1) is None  # its holder's time counts


def test_the_lease_of_a_killed_holder_expires(place: str) -> None:
    process = holding(place, seconds=2)
    time.sleep(1)
    process.kill()
    process.communicate()
    assert str(process.pid) in leases.holder(place)
    lease, seconds = wait_to_take(place)
    assert 0.5 < seconds < 5
    lease.release()


def test_a_holder_that_slept_past_its_time_knows_that_it_lost(place: str) -> None:
    process = holding(place, seconds=1)
    process.send_signal(signal.SIGSTOP)
    lease, _ = wait_to_take(place)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate("\n")
    assert output.splitlines()[0] == "lost"
    assert "lost the lease" in output.splitlines()[1]
    assert lease.held  # the process that woke up did not take it back
    lease.release()


def test_a_lease_that_another_took_says_who(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = leases.acquire(place, seconds=2)
    with monkeypatch.context() as patch:  # as if the file system's clock had jumped
        patch.setattr(leases, "_is_alive", lambda *_, **__: False)
        theirs = leases.acquire(place, who="process 3 on host-b")
    time.sleep(1)
    with pytest.raises(JobError, match=r"process 3 on host-b since .* took it over"):
        mine.check()
    mine.release()
    assert theirs.held
    assert "host-b" in leases.holder(place)
    theirs.release()


def test_one_of_many_concurrent_callers_acquires_a_free_lease(place: str) -> None:
    won: list[leases.Lease] = []
    together = threading.Barrier(8)

    def want() -> None:
        together.wait()
        lease = leases.acquire(place)
        if lease is not None:
            won.append(lease)

    for _ in range(5):
        threads = [threading.Thread(target=want) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won.pop().release()


def test_two_processes_never_both_hold_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CONTEND, str(tmp_path / ".lease"), str(tmp_path / "flag")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    taken = [int(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(taken) > 20
    assert len(list(tmp_path.iterdir())) == 1  # only the last number stays
