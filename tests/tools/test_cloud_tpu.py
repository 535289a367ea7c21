"""tools/cloud_tpu as a user runs it, with fake_gcloud.py in place of Google."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

TOOL = [sys.executable, str(ROOT / "tools" / "cloud_tpu")]
Call = list[str]


class World:
    """A folder with an experiment, a fake `gcloud` on the PATH, and the planned end of each run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.fake = folder, folder / "fake"
        for part in ("bin", "fake/runs", "fake/plan"):
            (folder / part).mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("fake_gcloud.py"), folder / "bin" / "gcloud.py")
        gcloud = folder / "bin" / "gcloud"
        gcloud.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {gcloud}.py "$@"\n')
        gcloud.chmod(0o755)
        self.experiment = folder / "mine.toml"
        self.experiment.write_text('[data]\ndataset = "stdlib"\n')
        self.environment = os.environ | {
            "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
            "FAKE": str(self.fake),
        }

    def plan(self, words: str, node: str = "scalax-mine") -> None:
        (self.fake / "plan" / node).write_text("\n".join(words.split()) + "\n")

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*TOOL, *arguments],
            **{"env": self.environment, "cwd": self.folder} | options,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, *more: str, hardware: str = "v5e-16") -> subprocess.CompletedProcess[str]:
        return self.call(*self.arguments(hardware), *more)

    def arguments(self, hardware: str = "v5e-16") -> list[str]:
        where = ["--zone", "us-west4-a", "--out", "gs://bucket/mine", "--poll", "0.05"]
        return ["run", str(self.experiment), "--slice", hardware, *where]

    def calls(self) -> list[Call]:
        file = self.fake / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def requests(self) -> list[str]:
        """Returns the requests to the queue in order, without queries."""
        requested = [call[4] for call in self.calls() if call[3] == "queued-resources"]
        return [verb for verb in requested if verb != "describe"]

    def runs(self, node: str = "scalax-mine") -> list[list[str]]:
        """Returns the arguments of each `scalax` that ran on a slice."""
        file = self.fake / "runs" / node
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.split("\0")[:-1] for line in lines]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def commands(text: str) -> list[Call]:
    """Returns the commands of a dry run, parsed as a shell does."""
    return [shlex.split(line) for line in text.splitlines() if not line.startswith("#")]


# Accelerator types and runtime versions: docs.cloud.google.com/tpu/docs/{v5e,v6e,v5p,v4,runtimes}.
@pytest.mark.parametrize(
    ("hardware", "nodes", "accelerator", "runtime"),
    [
        ("v5e-256", "--node-id=scalax-mine", "v5litepod-256", "v2-alpha-tpuv5-lite"),
        ("v6e-256", "--node-id=scalax-mine", "v6e-256", "v2-alpha-tpuv6e"),
        ("v5p-128", "--node-id=scalax-mine", "v5p-128", "v2-alpha-tpuv5"),
        ("v4-128", "--node-id=scalax-mine", "v4-128", "tpu-ubuntu2204-base"),
        (
            "2xv5e-256",
            "--node-count=2 --node-prefix=scalax-mine",
            "v5litepod-256",
            "v2-alpha-tpuv5-lite",
        ),
    ],
)
def test_a_dry_run_asks_for_the_slice_in_googles_words_and_touches_nothing(
    world: World, hardware: str, nodes: str, accelerator: str, runtime: str
) -> None:
    done = world.run("--dry-run", hardware=hardware)
    assert done.returncode == 0, done.stderr
    create = (
        f"gcloud compute tpus queued-resources create scalax-mine {nodes} "
        f"--accelerator-type={accelerator} --runtime-version={runtime} --spot --zone=us-west4-a"
    )
    assert create in done.stdout.splitlines()
    assert world.calls() == []


def test_a_run_is_the_dry_run_without_its_ifs(world: World) -> None:
    printed = commands(world.run("--delete", "--dry-run").stdout)
    world.plan("0")
    done = world.run("--delete")
    assert done.returncode == 0, done.stderr
    ran = [call for n, call in enumerate(world.calls()) if call not in world.calls()[:n]]
    unneeded = [call for call in printed if "tpu-vm" in call and "describe" in call]
    assert len(unneeded) == 1
    assert ran == [c for n, c in enumerate(printed) if c not in [*printed[:n], *unneeded]]
    assert world.requests() == ["create", "delete"]
    assert world.runs() == [["run", "mine.toml", "--out", "gs://bucket/mine"]]
    assert "scalax ends as planned: 0" in done.stdout


def test_preemptions_get_a_new_slice_and_failures_the_same_a_few_times(world: World) -> None:
    world.plan("preempt 143 3 1")
    done = world.run("--delete", "--retries", "1")
    assert done.returncode == 1
    # suspended by Google: deleted here; stopped: deleted here; failed: the same slice again
    assert world.requests() == ["create", "delete", "create", "delete", "create", "delete"]
    assert len(world.runs()) == 4
    assert len(set(map(tuple, world.runs()))) == 1
    assert "exit 3 on a healthy slice: trying again, 1 of 1" in done.stderr


def test_wrong_use_ends_it_at_once_and_says_that_the_slice_costs(world: World) -> None:
    world.plan("2")
    done = world.run()
    assert done.returncode == 2
    assert "scalax ends as planned: 2" in done.stdout
    assert world.requests() == ["create"]
    assert "still billed" in done.stderr
    delete = done.stderr.split("to delete it: ")[1].splitlines()[0]
    assert subprocess.run(shlex.split(delete), env=world.environment, check=False).returncode == 0
    assert world.requests() == ["create", "delete"]


def test_slices_run_together_and_are_replaced_together(world: World) -> None:
    world.plan("3 0", "scalax-mine-0")
    world.plan("143 0", "scalax-mine-1")
    done = world.run("--delete", hardware="2xv5e-16")
    assert done.returncode == 0, done.stderr
    assert world.requests() == ["create", "delete", "create", "delete"]
    assert len(world.runs("scalax-mine-0")) == len(world.runs("scalax-mine-1")) == 2


def test_an_interrupted_watch_leaves_the_job_and_can_be_taken_up_again(world: World) -> None:
    world.plan("slow")
    first = world.start(*world.arguments())
    assert first.stdout is not None
    while "scalax ends as planned: slow" not in first.stdout.readline():
        assert first.poll() is None
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does
    _, err = first.communicate(timeout=30)
    assert first.returncode == 130
    assert "the job continues" in err
    assert "still billed" in err
    second = world.start(*world.arguments())
    time.sleep(0.5)
    (world.fake / "enough").touch()
    out, err = second.communicate(timeout=30)
    assert second.returncode == 0, err
    assert "already running" in out
    installed = (world.fake / "installed").read_text().splitlines()
    assert len(installed) == 3  # uv, an environment, scalax: nothing under a run's feet
    assert world.requests() == ["create"]
    assert len(world.runs()) == 1


def test_a_slice_that_somebody_deleted_is_not_asked_for_again(world: World) -> None:
    world.plan("vanish")
    done = world.run()
    assert done.returncode == 3
    assert "scalax-mine: deleted during the run" in done.stderr
    assert world.requests() == ["create"]


def test_a_refused_request_shows_what_google_said(world: World) -> None:
    (world.fake / "refuse").touch()
    done = world.run()
    assert done.returncode == 3
    assert "RESOURCE_EXHAUSTED" in done.stderr
    assert world.requests() == ["create"]


def test_no_answer_is_not_taken_for_no_slice(world: World) -> None:
    (world.fake / "locked out").touch()
    done = world.run()
    assert done.returncode == 3
    assert "no answer in 5 tries: ERROR: PERMISSION_DENIED: log in first" in done.stderr
    assert world.requests() == []


def test_odd_names_and_values_arrive_as_they_were_given(world: World, tmp_path: Path) -> None:
    world.experiment = world.experiment.rename(tmp_path / "it's $HOME mine.toml")
    (tmp_path / "my plugin.py").write_text("x = 1\n")
    more = [
        "--profile",
        "10:15",
        "--set",
        'data.files=["a b", \'c"$d\']',
        "--plugin",
        "my plugin.py",
    ]
    world.plan("0", "sweep")
    done = world.run("--name", "sweep", "--copy", "my plugin.py", "--", *more)
    assert done.returncode == 0, done.stderr
    expected = ["run", "it's $HOME mine.toml", "--out", "gs://bucket/mine", *more]
    assert world.runs("sweep") == [expected]
    assert (world.fake / "sweep" / "sweep" / "my plugin.py").is_file()


def test_a_wheel_of_this_machine_is_taken_along(world: World) -> None:
    wheel = world.folder / "scalax_laws-0.1.0-py3-none-any.whl"
    wheel.touch()
    printed = commands(world.run("--package", wheel.name, "--dry-run").stdout)
    (copy,) = [call for call in printed if call[4] == "scp"]
    assert copy[5:8] == [str(world.experiment), str(wheel), "scalax-mine:scalax-mine/"]
    assert any(f"'./{wheel.name}[tpu]'" in argument for call in printed for argument in call)


def test_delete_deletes_on_request(world: World) -> None:
    done = world.call("delete", "sweep", "--zone", "z", "--project", "p", "--dry-run")
    command = (
        "gcloud compute tpus queued-resources delete sweep --force --quiet --zone=z --project=p"
    )
    assert done.stdout.strip() == command
    assert world.calls() == []
    assert world.call("delete", "sweep", "--zone", "z").returncode == 3  # there is none


def jobset(world: World, *more: str) -> dict[str, Any]:
    arguments = ["jobset", str(world.experiment), "--out", "gs://bucket/mine", "--dry-run", *more]
    done = world.call(*arguments)
    assert done.returncode == 0, done.stderr
    assert world.calls() == []
    text = done.stdout.split("kubectl apply --filename=- <<'END'\n")[1].split("\nEND\n")[0]
    result: dict[str, Any] = json.loads(text)
    return result


def test_a_jobset_has_a_job_a_slice_and_a_pod_a_machine(world: World) -> None:
    data, result = jobset(world, "--slice", "2xv5e-256", "--", "--profile", "10:15")["items"]
    assert data["data"] == {"mine.toml": world.experiment.read_text()}
    assert (result["apiVersion"], result["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (slices,) = result["spec"]["replicatedJobs"]
    job = slices["template"]["spec"]
    # docs.cloud.google.com/tpu/docs/v5e: 16x16 has 256 chips; ct5lp-hightpu-4t has four of them.
    assert (slices["replicas"], job["parallelism"], job["completions"]) == (2, 64, 64)
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "16x16",
        "cloud.google.com/gke-spot": "true",
    }
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert container["command"][-1] == (
        "pip install --quiet 'scalax-laws[tpu]' && "
        "exec scalax run mine.toml --out gs://bucket/mine --profile 10:15"
    )


def test_a_jobset_ends_on_2_starts_again_on_143_and_bounds_the_rest(world: World) -> None:
    _, result = jobset(world, "--slice", "v6e-16", "--retries", "5")["items"]
    policy = result["spec"]["failurePolicy"]
    job = result["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert policy["maxRestarts"] == 5
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # podFailurePolicy asks for it
    codes = [rule.get("onExitCodes", {}).get("values") for rule in job["podFailurePolicy"]["rules"]]
    assert codes == [[2], [143], None]
    assert job["podFailurePolicy"]["rules"][2]["onPodConditions"][0]["type"] == "DisruptionTarget"
    # The first rule that matches acts; the words are those of Kubernetes' job controller, as
    # JobSet's keps/262-ConfigurableFailurePolicy quotes them.
    said = "Container scalax for pod default/p failed with exit code {} matching FailJob rule at"
    for code, action in ((2, "FailJobSet"), (143, "RestartJobSetAndIgnoreMaxRestarts")):
        matching = [
            rule["action"]
            for rule in policy["rules"]
            if any(p in said.format(code) for p in rule.get("onJobFailureMessagePatterns", [""]))
        ]
        assert matching[0] == action


def test_an_image_that_has_scalax_installs_nothing(world: World) -> None:
    more = ["--slice", "v5p-8", "--image", "gcr.io/p/s", "--service-account", "s", "--on-demand"]
    _, result = jobset(world, *more)["items"]
    pod = result["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "s"
    assert "cloud.google.com/gke-spot" not in pod["nodeSelector"]
    command = pod["containers"][0]["command"]
    assert command == ["bash", "-c", "exec scalax run mine.toml --out gs://bucket/mine"]


def test_the_commands_of_the_guide_are_taken(world: World) -> None:
    guide = (ROOT / "docs" / "cloud-tpu.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in guide.splitlines() if "python tools/cloud_tpu" in line]
    shown = [shlex.split(line) for line in lines if "..." not in line]
    assert len(shown) >= 6
    for command in shown:
        end = command.index("--") if "--" in command else len(command)
        done = world.call(*command[2:end], "--dry-run", *command[end:], cwd=ROOT)
        assert done.returncode == 0, (command, done.stderr)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--slice": "v5e-250"}, "no v5e slice has 250 chips. Fix: v5e comes with 1, 4, 8, 16, 32"),
        ({"--slice": "v5p-100"}, "no v5p slice has 100 TensorCores. Fix: v5p comes with 8, 16, 32"),
        ({"--slice": "h100-8"}, "no TPU generation 'h100'. Fix: write one of v4, v5e, v5p, v6e"),
        ({"--slice": "0xv5e-16"}, "no TPU generation '0xv5e'; did you mean 'v5e'?"),
        ({"--slice": "v5e"}, "expected GENERATION-COUNT, got 'v5e'"),
        ({"--out": "out/mine"}, "--out: expected gs://BUCKET/FOLDER, got 'out/mine'"),
        ({"--out": "gs://bucket"}, "--out: expected gs://BUCKET/FOLDER"),
        ({"--name": "My_Sweep"}, "small letters, digits or hyphens, got 'My_Sweep'"),
        ({"--copy": "nowhere.py"}, "File 'nowhere.py' does not exist"),
        ({"--copy": str(ROOT / "README.md")}, "two files are called README.md"),
        ({"--package": "nowhere.whl"}, "nowhere.whl: no such file"),
        ({"--zone": None}, "Missing option '--zone'"),
    ],
)
def test_a_mistake_is_one_clear_error(
    world: World, changed: dict[str, str | None], message: str
) -> None:
    given: dict[str, str | None] = {"--slice": "v5e-16", "--zone": "z", "--out": "gs://b/m"}
    given |= changed
    options = [part for key, value in given.items() if value is not None for part in (key, value)]
    twice = ["--copy", str(ROOT / "docs" / ".." / "README.md")] if "two files" in message else []
    done = world.call("run", str(world.experiment), *options, *twice)
    assert done.returncode == 2
    assert message in done.stderr
    assert world.calls() == []


def test_gke_joins_no_slices_of_one_machine(world: World) -> None:
    arguments = ["jobset", str(world.experiment), "--out", "gs://b/m", "--slice", "2xv5e-4"]
    done = world.call(*arguments)
    assert done.returncode == 2
    assert "GKE connects only slices of several machines" in done.stderr


@pytest.mark.parametrize(("command", "program"), [("run", "gcloud"), ("jobset", "kubectl")])
def test_without_googles_programs_it_says_what_to_install(
    world: World, command: str, program: str
) -> None:
    zone = ["--zone", "z"] if command == "run" else []
    arguments = [str(world.experiment), "--slice", "v5e-16", "--out", "gs://b/m", *zone]
    empty = world.environment | {"PATH": str(world.folder / "fake")}
    done = world.call(command, *arguments, env=empty)
    assert done.returncode == 2
    assert f"the program {program} is not installed" in done.stderr
    assert world.call(command, *arguments, "--dry-run", env=empty).returncode == 0
