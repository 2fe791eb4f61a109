"""The peak speed of the machine in matrix products of given shapes, measured."""

from __future__ import annotations

import functools
import time

import jax

SECONDS = 0.2  # The duration of a timed call, up to a chain of `LONGEST` products.
LONGEST = 1_000
LARGE = 2048  # The size of the square product that represents the machine's peak.


def peak(matrices: int, rows: int, width: int, repeats: int = 5) -> float:
    """The highest GFLOP/s of products `[rows, width] @ [width, width]`.

    It is the best of three ways and of their repeats: all products as one batched
    product, as an ensemble or `jax.vmap` does; as one tall product of the same size;
    and one by one. Each way repeats on its own results, so arrays larger than the
    caches go through memory, which products inside other work may avoid. The result
    therefore is the speed of the products alone, not a bound for a program.

    Args:
        matrices: The number of products at once.
        rows: The number of rows of the left matrices.
        width: The width of both matrices.
        repeats: The number of timed calls of each way.
    """
    right = width, width
    return max(
        _rate((matrices, rows, width), (matrices, *right), repeats),
        _rate((matrices * rows, width), right, repeats),
        _rate((rows, width), right, repeats),
    )


def machine_peak(repeats: int = 3) -> float:
    """The highest GFLOP/s of a large square product."""
    return _rate((LARGE, LARGE), (LARGE, LARGE), repeats)


@functools.partial(jax.jit, static_argnames="length")
def _chain(left: jax.Array, right: jax.Array, *, length: int) -> jax.Array:
    # The compiler knows the length; otherwise a GPU would ask the host in every turn.
    # A turn has two products: the second writes where the first has read. After a
    # single one the result would be copied there, which is as slow as a large product.
    return jax.lax.fori_loop(0, length, lambda _, x: x @ right @ right, left)


def _rate(
    left_shape: tuple[int, ...], right_shape: tuple[int, ...], repeats: int
) -> float:
    left_key, right_key = jax.random.split(jax.random.key(0))
    left = jax.random.normal(left_key, left_shape)
    # The scale keeps a long chain of products from vanishing or overflowing soon.
    right = jax.random.normal(right_key, right_shape) / right_shape[-1] ** 0.5
    operations = 2 * 2 * left.size * right_shape[-1]
    _seconds(left, right, 1)  # The first call compiles.
    length = int(min(max(SECONDS / _seconds(left, right, 1), 1), LONGEST))
    length = 1 << (length.bit_length() - 1)  # A power of 2, to compile few lengths.
    _seconds(left, right, length)
    passed = [_seconds(left, right, length) for _ in range(repeats)]
    return length * operations / min(passed) / 1e9


def _seconds(left: jax.Array, right: jax.Array, length: int) -> float:
    began = time.perf_counter()
    jax.block_until_ready(_chain(left, right, length=length))
    return time.perf_counter() - began
