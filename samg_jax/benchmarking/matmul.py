"""What the machine can do at best: matrix products of given shapes, measured."""

from __future__ import annotations

import functools
import time

import jax

SECONDS = 0.2  # Of one timed call, unless it is as long as this:
LONGEST = 1_000
LARGE = 2048  # Size of the square product that stands for the machine itself.


def peak(matrices: int, rows: int, width: int, repeats: int = 5) -> float:
    """The most GFLOP/s of products `[rows, width] @ [width, width]`.

    The best of three ways to take them, and of the repeats: all as one batched product,
    as an ensemble or `jax.vmap` does, as one tall product of the same size, and one
    by one. Each is repeated on its own results: what is larger than the caches goes
    through memory, as it need not where products have other work in between. So this
    is what the products give by themselves, no bound of what a program can reach.

    Args:
        matrices: how many products are taken at once.
        rows: of the left matrices.
        width: of both.
        repeats: timed calls of each way.
    """
    right = width, width
    return max(
        _rate((matrices, rows, width), (matrices, *right), repeats),
        _rate((matrices * rows, width), right, repeats),
        _rate((rows, width), right, repeats),
    )


def machine_peak(repeats: int = 3) -> float:
    """The most GFLOP/s of a large square product."""
    return _rate((LARGE, LARGE), (LARGE, LARGE), repeats)


@functools.partial(jax.jit, static_argnames="length")
def _chain(left: jax.Array, right: jax.Array, *, length: int) -> jax.Array:
    # Of a length that the compiler knows: without, a GPU asks the host at every turn.
    # Two products a turn: the second writes where the first has read. After a single
    # one the result would be copied there, which takes as long as a large product.
    return jax.lax.fori_loop(0, length, lambda _, x: x @ right @ right, left)


def _rate(
    left_shape: tuple[int, ...], right_shape: tuple[int, ...], repeats: int
) -> float:
    left_key, right_key = jax.random.split(jax.random.key(0))
    left = jax.random.normal(left_key, left_shape)
    # Scaled so that a long chain of products neither vanishes nor overflows soon.
    right = jax.random.normal(right_key, right_shape) / right_shape[-1] ** 0.5
    operations = 2 * 2 * left.size * right_shape[-1]
    _seconds(left, right, 1)  # Compiles.
    length = int(min(max(SECONDS / _seconds(left, right, 1), 1), LONGEST))
    length = 1 << (length.bit_length() - 1)  # One of few, so rarely compiled anew.
    _seconds(left, right, length)
    passed = [_seconds(left, right, length) for _ in range(repeats)]
    return length * operations / min(passed) / 1e9


def _seconds(left: jax.Array, right: jax.Array, length: int) -> float:
    began = time.perf_counter()
    jax.block_until_ready(_chain(left, right, length=length))
    return time.perf_counter() - began
