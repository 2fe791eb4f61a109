import jax

from samg_jax.training import compilation


def test_programs_are_kept_in_the_folder_of_the_config(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        compilation.use_cache("")
        assert jax.config.jax_compilation_cache_dir is None
        compilation.use_cache(str(tmp_path / "cache"))
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "cache")
        # What the user has set, by the environment for example, is left alone.
        compilation.use_cache(str(tmp_path / "other"))
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "cache")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
