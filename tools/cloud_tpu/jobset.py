"""Builds the manifest of a sweep as a GKE JobSet: one Job per slice, one pod per machine.

Exit codes decide what happens, by the rules of batch/v1 and jobset.x-k8s.io/v1alpha2 (JobSet 0.10
or later; api/jobset/v1alpha2/jobset_types.go at 08dfbdf, 2026-08-18, and
site/content/en/docs/tasks/failure_policy.md). 2 fails the JobSet at once. 143 or a preempted pod
restarts all pods, without limit. Other failures restart them a limited number of times.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from queued_resource import local_wheel, run_command
from slices import Slice

from scalax.errors import ScalaxError

IMAGE = "python:3.12"
"""The official image: `pip install scalax-laws[tpu]` also installs the TPU library."""
CONFIG_MAP_BYTES = 1_000_000
"""Limit of the files in a ConfigMap; Kubernetes allows 1 MiB."""
_FOLDER = "/experiment"
_POOL = "cloud.google.com/gke-nodepool"


def manifest(
    *,
    name: str,
    hardware: Slice,
    experiment: Path,
    out: str,
    files: tuple[Path, ...],
    package: str | None,
    image: str,
    scalax_args: tuple[str, ...],
    service_account: str | None,
    spot: bool,
    retries: int,
) -> dict[str, Any]:
    """Returns the input of `kubectl apply`: a ConfigMap with the files, and the JobSet.

    Args:
        name: Name of both.
        hardware: The slices.
        experiment: The experiment file.
        out: The gs:// folder of the results.
        files: Other files that the run reads, copied beside the experiment.
        package: Requirement to install first; None if the image contains scalax.
        image: Image of the container.
        scalax_args: Other arguments of `scalax run`.
        service_account: Kubernetes service account that may write to the bucket.
        spot: Whether to use spot nodes.
        retries: Retries after failures; preemptions do not count.

    Raises:
        ScalaxError: GKE does not support the files or the slices.
    """
    if hardware.slices > 1 and hardware.machines == 1:
        raise ScalaxError(
            "GKE connects only slices of several machines",
            where=f"--slice of {hardware.slices} x {hardware.chips} chips",
            fix=f"give slices of {2 * hardware.chips_per_machine} chips or more, or one slice",
        )
    if package and local_wheel(package):
        raise ScalaxError(
            "a wheel on this machine does not reach a pod",
            where=f"--package {package}",
            fix="give a requirement or a URL, or an --image that contains scalax",
        )
    install = f"pip install --quiet {shlex.quote(package)} && " if package else ""
    container = {
        "name": "scalax",
        "image": image,
        "command": [
            "bash",
            "-c",
            f"{install}exec {run_command(experiment.name, out, scalax_args)}",
        ],
        "workingDir": _FOLDER,
        "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
        "resources": {"limits": {"google.com/tpu": hardware.chips_per_machine}},
        "volumeMounts": [{"name": "experiment", "mountPath": _FOLDER}],
    }
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {
            "cloud.google.com/gke-tpu-accelerator": hardware.gke_accelerator,
            "cloud.google.com/gke-tpu-topology": hardware.topology,
            **({"cloud.google.com/gke-spot": "true"} if spot else {}),
        },
        **({"serviceAccountName": service_account} if service_account else {}),
        "containers": [container],
        "volumes": [{"name": "experiment", "configMap": {"name": name}}],
    }
    job = {
        "parallelism": hardware.machines,
        "completions": hardware.machines,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": _exits(2)},
                {"action": "FailJob", "onExitCodes": _exits(143)},
                {
                    "action": "FailJob",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
            ]
        },
        "template": {"spec": pod},
    }
    by_policy = ["PodFailurePolicy"]
    jobset = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": name,
            # Each slice has a node pool of its own.
            "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": _POOL},
        },
        "spec": {
            "failurePolicy": {
                "maxRestarts": retries,
                # No new pod starts while an old one still locks the results folder.
                "restartStrategy": "BlockingRecreate",
                "rules": [
                    {
                        "name": "wrongUse",
                        "action": "FailJobSet",
                        "onJobFailureReasons": by_policy,
                        "onJobFailureMessagePatterns": ["exit code 2 "],
                    },
                    {
                        "name": "preempted",
                        "action": "RestartJobSetAndIgnoreMaxRestarts",
                        "onJobFailureReasons": by_policy,
                    },
                ],
            },
            "replicatedJobs": [
                {"name": "slice", "replicas": hardware.slices, "template": {"spec": job}}
            ],
        },
    }
    data = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": _texts((experiment, *files)),
    }
    return {"apiVersion": "v1", "kind": "List", "items": [data, jobset]}


def _exits(code: int) -> dict[str, Any]:
    return {"containerName": "scalax", "operator": "In", "values": [code]}


def _texts(files: tuple[Path, ...]) -> dict[str, str]:
    """Returns the text of each file by name, for a ConfigMap."""
    try:
        texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    except UnicodeDecodeError as error:
        raise ScalaxError(
            f"a ConfigMap can store text files only ({error})",
            where="--copy",
            fix="put other files into the image, or read them from gs://",
        ) from error
    size = sum(len(text.encode()) for text in texts.values())
    if size > CONFIG_MAP_BYTES:
        raise ScalaxError(
            f"{size:,} bytes are too many for a ConfigMap",
            where="--copy",
            fix="put large files into the image, or read them from gs://",
        )
    return texts
