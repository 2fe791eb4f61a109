import pytest

from samg_jax.benchmarking import matmul


def test_the_peak_is_that_of_a_machine():
    # From a slow core to a fast accelerator; a forgotten factor of 1e9 is outside.
    assert 0.05 < matmul.peak(2, 64, 64, repeats=1) < 1e6


def test_the_rate_is_operations_over_time(monkeypatch):
    def seconds(left, right, length):
        del right
        # Of the ways to take them, one by one is the fastest for its size.
        return length * (0.01 if left.size > 5 * 7 else 0.002)

    monkeypatch.setattr(matmul, "_seconds", seconds)
    # [5, 7] @ [7, 7] is 2 * 5 * 7 * 7 = 490 operations, two such products a turn.
    assert matmul.peak(3, 5, 7) == pytest.approx(2 * 490 / 0.002 / 1e9)
    assert matmul.peak(6, 5, 7) == pytest.approx(6 * 2 * 490 / 0.01 / 1e9)
    size = matmul.LARGE
    assert matmul.machine_peak() == pytest.approx(2 * 2 * size**3 / 0.01 / 1e9)
