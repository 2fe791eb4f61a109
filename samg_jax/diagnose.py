r"""Tests whether the weight p(s, a) of an offline checkpoint recognizes familiar pairs.

    python -m samg_jax.diagnose --checkpoint=runs/pretrained
    python -m samg_jax.diagnose --checkpoint=runs/pretrained --presets=paper,best \
        --settings=wide:cvae.latent_size=16,kind=joint --steps=20000 --out=evidence

The program compares held-out offline pairs with uniform actions in the same states,
with noisy actions, and with the pairs of another policy. The baseline is the distance
to the nearest offline pair.
"""

import shlex
import sys

from absl import flags

from samg_jax import checks, lazy, logs, trust
from samg_jax.experiment import command_line
from samg_jax.runs import signals

evidence = lazy.module("samg_jax.diagnosis.evidence")
diagnosis_tables = lazy.module("samg_jax.diagnosis.diagnosis_tables")
size_limits = lazy.module("samg_jax.experiment.size_limits")
compilation = lazy.module("samg_jax.compilation")

CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Workdir of a run whose offline phase is complete."
)
OUT = flags.DEFINE_string(
    "out", None, "Folder of the results; by default diagnosis/ in the workdir."
)
PRESETS = flags.DEFINE_list(
    "presets", [], "Presets whose weight is trained and compared: paper, best."
)
SETTINGS = flags.DEFINE_multi_string(
    "settings",
    [],
    "A weight to train and compare, as NAME:FIELD=VALUE,... with fields of "
    "config.guidance.",
)
CVAE_STEPS = command_line.define_integer(
    "steps", None, "Updates of the models trained here; by default the checkpoint's.", 1
)
KINDS = flags.DEFINE_list(
    "kinds",
    ["tail", "window", "joint", "nearest"],
    "Kinds of probability to compare, besides the configured one.",
)
DATA = flags.DEFINE_string(
    "data", None, "The file of the checkpoint's data, if it was moved."
)
OTHER = flags.DEFINE_string(
    "other",
    None,
    "HDF5 file, D4RL name or minari:ID of the other policy's pairs; by default those "
    "of a random policy.",
)
ROWS = command_line.define_integer("rows", 5_000, "The most pairs of each set.", 2)
SEED = command_line.define_integer("seed", 0, "The seed of the pairs drawn here.", 0)
TRUST = trust.define_flag()
flags.mark_flag_as_required("checkpoint")


def main(argv: list[str]) -> None:
    """Judges what the flags describe."""
    del argv
    logs.quiet_libraries()
    request = evidence.Request(
        checkpoint=CHECKPOINT.value,
        out=OUT.value,
        presets=tuple(PRESETS.value),
        settings=tuple(SETTINGS.value),
        steps=CVAE_STEPS.value,
        kinds=tuple(KINDS.value),
        data=DATA.value,
        other=OTHER.value,
        rows=ROWS.value,
        seed=SEED.value,
        command=shlex.join(["python", "-m", "samg_jax.diagnose", *sys.argv[1:]]),
    )
    with checks.program():
        compilation.start()
    with signals.program(), trust.files(TRUST.value):
        size_limits.count("--rows", ROWS.value)
        size_limits.count("--steps", CVAE_STEPS.value or 0)
        # Each row has several numbers; this counts one of them.
        needed = size_limits.NUMBER * ROWS.value
        size_limits.memory(f"--rows={ROWS.value} takes", needed, "Lower --rows.")
        compilation.use_cache(compilation.DEFAULT_CACHE)
        report = evidence.run(request)
        print(diagnosis_tables.text(report))
        print("\npictures: " + ", ".join(report["pictures"]))


def run() -> None:
    """Runs the program with the arguments of the command line."""
    command_line.run(main)


if __name__ == "__main__":
    run()
