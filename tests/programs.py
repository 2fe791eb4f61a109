"""Programs called in this process, although they share names of flags."""

import contextlib
import importlib
import os
import pathlib
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence

import jax
from absl import flags
from absl.testing import flagsaver

ROOT = pathlib.Path(__file__).parents[1]


def start(command: Sequence[str]) -> subprocess.Popen:
    """A process of the checkout that shares this one's compiled programs.

    Args:
        command: its words; what it prints, errors included, is in its `stdout`.
    """
    cache = jax.config.jax_compilation_cache_dir
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache},
    )


@contextlib.contextmanager
def running(name: str, **values) -> Iterator[types.ModuleType]:
    """Yields the module of a program, its flags set; those of others are forgotten.

    Absl keeps one flag of a name in a process, and complains of a second.

    Args:
        name: of the program, without the package.
        **values: of its flags.
    """
    for module, defined in dict(flags.FLAGS.flags_by_module_dict()).items():
        if module.startswith("samg_jax."):
            for flag in list(defined):
                delattr(flags.FLAGS, flag.name)
    sys.modules.pop(f"samg_jax.{name}", None)
    program = importlib.import_module(f"samg_jax.{name}")
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(**values):
        for flag in values:  # As a command line has it.
            flags.FLAGS[flag].present = 1
        yield program
