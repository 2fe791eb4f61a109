import importlib.metadata
import os
import shutil
import tempfile

# Before JAX starts, and inherited by workers and by the programs that tests start:
# no accelerator, programs compiled quickly rather than well, and each only once.
OWN_CACHE = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if OWN_CACHE:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="samg_jax_tests_")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # Workers share the cores already.
XLA_FLAGS = ["--xla_backend_optimization_level=0"]
# Without these flags, programs take twice as long to compile, and half as long again.
# jaxlib 0.11 dropped the first; XLA aborts a process that sets a flag it does not know.
JAXLIB = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
if JAXLIB < (0, 11):
    XLA_FLAGS.append("--xla_cpu_use_fusion_emitters=false")
    XLA_FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")
os.environ.setdefault("XLA_FLAGS", " ".join(XLA_FLAGS))

import pytest  # noqa: E402

from tests.fixtures import small_experiments  # noqa: E402

# Take longest, so they come first: a worker that got one of them last would be alone.
LONG = {
    "test_algorithms.py",
    "test_benchmark.py",
    "test_collect.py",
    "test_configs.py",
    "test_devices.py",
    "test_foreign_state.py",
    "test_forks.py",
    "test_protocols.py",
    "test_readme.py",
    "test_resume.py",
    "test_stepping.py",
    "test_train.py",
    "test_wheel.py",
}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_unconfigure(config):
    del config
    if OWN_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_sessionfinish(session, exitstatus):
    """Where everything is installed, as in CI, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped") if reporter else None
    if os.environ.get("CI") and skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped")
    if os.environ.get("CI") and skipped:
        terminalreporter.section("tests skipped, which CI does not allow")
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[-1]}")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return small_experiments.write_dataset(
        tmp_path_factory.mktemp("data") / "random.hdf5"
    )


# Fixtures of several folders.
from tests.fixtures.drawn_figures import (  # noqa: E402, F401
    figures,
)
from tests.fixtures.trained_runs import (  # noqa: E402, F401
    awac_run,
    samg_run,
    without_data,
)
