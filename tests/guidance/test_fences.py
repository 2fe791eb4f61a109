import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samg_jax.guidance import fences


@pytest.mark.parametrize("first", [1.5, -0.0, np.inf, np.nan])
def test_a_fence_is_the_identity_in_every_bit(first):
    values = np.array([first, -0.0, np.nan, -np.inf, 1e-42, 3.0], np.float32)
    passed = jax.jit(jax.vmap(fences.fence))(jnp.stack([values, values[::-1]]))
    expected = np.stack([values, values[::-1]]).view(np.uint32)
    np.testing.assert_array_equal(np.asarray(passed).view(np.uint32), expected)


def test_a_gradient_passes_a_fence_unchanged():
    values = jnp.array([np.inf, 2.0, -3.0])
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(fences.fence(x))[1:]))(values)
    np.testing.assert_array_equal(gradient[1:], jnp.cos(values[1:]))


def test_what_is_fenced_is_compiled_apart():
    program = jax.jit(lambda x: jnp.sum(fences.fence(x * 2.0) + 1.0))
    assert "while" in program.lower(jnp.ones(8)).compile().as_text()
