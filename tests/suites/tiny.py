"""A suite small enough for tests: real processes, tiny networks, random data."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pandas as pd

from samg_jax.suites import program
from tests import small

ROOT = pathlib.Path(__file__).parent.parent.parent
CONFIGS = ROOT / "configs"
# Differ between two runs of the same job; the last when the checkout changes meanwhile.
MEASURED = ["wall_time", "peak_memory", "git_commit"]
# Long enough to be killed on the way, with checkpoints to go on from.
LONGER = (
    "seeds_per_job=1",
    "budgets.online_steps=1500",
    "config.online.checkpoint_every=100",
    "config.online.eval_every=500",
    "config.online.log_every=500",
)


def write(folder, dataset):
    """Writes a suite of AWAC, vanilla and guided, on one file; returns its path."""
    fields = {**small.SMALL, **small.GUIDED, **small.NETWORKS["awac"]}
    for name in ("env_id", "num_seeds", "logging.progress", "online.steps"):
        del fields[name]
    overrides = tuple(f"{name}={value}" for name, value in fields.items())
    path = folder / "tiny.py"
    path.write_text(
        "from configs.suites import base\n\n\n"
        "def get_config():\n"
        "    suite = base.get_config()\n"
        "    suite.datasets = ('hopper-demo',)\n"
        f"    suite.dataset_path = {str(dataset)!r}\n"
        "    suite.algorithms = ('awac',)\n"
        "    suite.variants = ('samg',)\n"
        "    suite.seed, suite.num_seeds = 2, 2\n"
        "    suite.budgets.online_steps = 60\n"
        f"    suite.overrides = {overrides!r}\n"
        "    return suite\n"
    )
    return path


def run(suite, out, *settings, **fields):
    """Runs a suite in this process, its jobs in theirs; returns the exit status."""
    request = program.Request(str(suite), str(out), CONFIGS, settings, **fields)
    return program.run(request)


def start(suite, out, *settings, retries=0):
    """Starts a suite as its command."""
    module = [sys.executable, "-m", "samg_jax.benchmark", "suite"]
    given = [f"--suite={suite}", f"--out={out}", f"--configs={CONFIGS}"]
    changes = [f"--set={text}" for text in settings]
    return subprocess.Popen(
        [*module, *given, *changes, f"--retries={retries}"],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Shells start what runs in the background with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def results(out):
    """Returns the table of results, without what no two runs share."""
    return pd.read_parquet(out / "results.parquet").drop(columns=MEASURED)


def claims(out):
    """Returns every process that ever had a job, as job and name of its claim."""
    paths = sorted(out.glob("jobs/*/*/*/*/claim-*.json"))
    places = [path.parent.relative_to(out / "jobs/awac/random") for path in paths]
    return [(str(p), path.stem) for p, path in zip(places, paths, strict=True)]


def at_work(out):
    """Returns the pids of the processes that have jobs now, by job."""
    result = {}
    for path in out.glob("jobs/*/*/*/*/claim-*.json"):
        owner = json.loads(path.read_text())
        if not owner["released"] and pathlib.Path(f"/proc/{owner['pid']}").exists():
            result[path.parent] = owner["pid"]
    return result
