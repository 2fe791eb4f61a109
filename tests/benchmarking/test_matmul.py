from samg_jax.benchmarking import matmul


def test_the_peak_is_that_of_a_machine():
    # From a slow core to a fast accelerator; a forgotten factor of 1e9 is outside.
    assert 0.05 < matmul.peak(2, 64, 64, repeats=1) < 1e6
