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
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import pytest  # noqa: E402

from tests import small  # noqa: E402


def pytest_unconfigure(config):
    del config
    if OWN_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return small.write_dataset(tmp_path_factory.mktemp("data") / "random.hdf5")
