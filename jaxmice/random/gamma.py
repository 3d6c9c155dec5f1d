"""Gamma draws without a loop over elements."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


def log_gamma(
    key: Key[Array, ""], shape: Float[Array, "*n"], n_proposals: int = 1
) -> Float[Array, "*n"]:
    r"""Draw the logarithm of standard gamma variates.

    Parameters
    ----------
    key
        Random key, consumed.
    shape
        Shape of each variate, positive; the rate is one.
    n_proposals
        Proposals made at once per element. The first accepted one is taken; elements
        without any are drawn again in a loop. Few elements are cheapest with many
        proposals (the loop is then hardly ever entered), many elements with one.

    Notes
    -----
    Marsaglia and Tsang (2000), ACM Transactions on Mathematical Software 26, 363-372:
    exact; at least 95 % of proposals are accepted for a shape of one or more. A smaller
    shape is raised by one and corrected by :math:`u^{1/s}` in logarithms, where it
    cannot underflow.
    """
    key_boost, key_loop = jax.random.split(key)
    small = shape < 1
    d = jnp.where(small, shape + 1, shape) - 1 / 3
    c = jax.lax.rsqrt(9 * d)

    def propose(key: Key[Array, ""]) -> tuple[Float[Array, "*n"], Bool[Array, "*n"]]:
        key_normal, key_uniform = jax.random.split(key)
        size = (n_proposals, *shape.shape)
        x = jax.random.normal(key_normal, size, shape.dtype)
        u = jax.random.uniform(key_uniform, size, shape.dtype)
        t = 1 + c * x
        v = jnp.where(t > 0, t, 1) ** 3
        # log(0) = -inf is a correct "accept".
        accepted = (t > 0) & (jnp.log(u) < 0.5 * x * x + d - d * v + d * jnp.log(v))
        first = jnp.argmax(accepted, axis=0)
        chosen = jnp.take_along_axis(v, first[None], axis=0)[0] if n_proposals > 1 else v[0]
        return chosen, jnp.any(accepted, axis=0)

    def not_done(carry: tuple[Key[Array, ""], Array, Array]) -> Bool[Array, ""]:
        return ~jnp.all(carry[2])

    def redraw(carry: tuple[Key[Array, ""], Array, Array]) -> tuple[Key[Array, ""], Array, Array]:
        key, v, done = carry
        key, key_now = jax.random.split(key)
        fresh, accepted = propose(key_now)
        return key, jnp.where(done, v, fresh), done | accepted

    key_first, key_loop = jax.random.split(key_loop)
    v, done = propose(key_first)
    _, v, _ = jax.lax.while_loop(not_done, redraw, (key_loop, v, done))
    tiny = jnp.finfo(shape.dtype).tiny
    boost = jnp.log(jax.random.uniform(key_boost, shape.shape, shape.dtype, minval=tiny))
    return jnp.log(d * v) + jnp.where(small, boost / shape, 0)
