"""A stand-in for Google's `gcloud`, and for the TPU VMs behind it, that a test puts on the PATH.

It keeps its world in the folder $FAKE: calls.jsonl, a file of the request's state, and a folder for
each slice, its one worker's home, where the commands sent by ssh really run. `python3` there
installs a `scalax` that writes down its arguments and ends as plan/SLICE says, a word a run:
an exit code, `preempt`, `slow`, or `vanish`, for a request deleted by hand.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

WORLD = Path(os.environ.get("FAKE", "nowhere"))
REQUEST = WORLD / "request"
SCALAX = """#!/bin/bash
printf '%s\\0' "$@" >> "$FAKE/runs/$SLICE"; echo >> "$FAKE/runs/$SLICE"
word=$(head -n 1 "$FAKE/plan/$SLICE"); sed -i 1d "$FAKE/plan/$SLICE"
echo "scalax ends as planned: $word"
case $word in
  preempt) echo SUSPENDED > "$FAKE/request"; exit 143;;
  vanish) rm "$FAKE/request"; exit 3;;
  slow) while [ ! -e "$FAKE/enough" ]; do sleep 0.05; done;;
  *) exit "$word";;
esac
"""
PYTHON = f"""#!/bin/bash
echo "$@" >> "$FAKE/installed"
mkdir -p venv/bin && cat > venv/bin/scalax <<'END' && chmod +x venv/bin/scalax
{SCALAX}END
"""


def main(arguments: list[str]) -> int:
    """Answers one call and returns its exit code."""
    with (WORLD / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(["gcloud", *arguments]) + "\n")
    what, verb = arguments[2:4]
    rest = arguments[4:]
    if what == "queued-resources":
        return request(verb, rest)
    if verb == "describe":
        print("READY")
        return 0
    if not REQUEST.is_file() or REQUEST.read_text().strip() != "ACTIVE":
        print("ERROR: This TPU has terminal state PREEMPTED", file=sys.stderr)
        return 1
    if verb == "scp":
        *files, target = [a for a in rest if not a.startswith("--")]
        node, _, folder = target.partition(":")
        for file in files:
            shutil.copy(file, WORLD / node / folder)
        return 0
    home = WORLD / rest[0]
    (home / "bin").mkdir(parents=True, exist_ok=True)
    (home / "bin" / "python3").write_text(PYTHON)
    (home / "bin" / "python3").chmod(0o755)
    command = next(a for a in rest if a.startswith("--command=")).removeprefix("--command=")
    here = os.environ | {"SLICE": rest[0], "PATH": f"{home / 'bin'}:/usr/bin:/bin"}
    code = subprocess.run(["bash", "-c", command], cwd=home, env=here, check=False).returncode
    taken = REQUEST.is_file() and REQUEST.read_text().strip() == "SUSPENDED"
    return 255 if taken else code  # the connection went with the machine


def request(verb: str, rest: list[str]) -> int:
    """Creates, describes or deletes the queued resource."""
    waits = WORLD / "waits"
    if (WORLD / "locked out").is_file():
        print("ERROR: PERMISSION_DENIED: log in first", file=sys.stderr)
        return 1
    if verb == "create":
        if (WORLD / "refuse").is_file():
            print("ERROR: RESOURCE_EXHAUSTED: quota", file=sys.stderr)
            return 1
        REQUEST.write_text("ACTIVE")
        waits.write_text("CREATING WAITING_FOR_RESOURCES")
    elif not REQUEST.is_file():
        print(f"ERROR: (gcloud) NOT_FOUND: Resource {rest[0]!r}", file=sys.stderr)
        return 1
    elif verb == "describe":
        first, *others = waits.read_text().split() or [REQUEST.read_text().strip()]
        waits.write_text(" ".join(others))
        print(first)
    elif verb == "delete":
        REQUEST.unlink()
        for home in WORLD.glob("scalax-*"):
            shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
