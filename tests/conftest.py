import os

# Before JAX starts: tests need no accelerator, and share what they compile.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest

from tests import small


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return small.write_dataset(tmp_path_factory.mktemp("data") / "random.hdf5")


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache(tmp_path_factory):
    # Many tests run the same small programs; each is compiled once a session.
    import jax

    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jax")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
