"""Draws that JAX lacks, or compiles or runs badly: bare functions of a key."""

from jaxmice.random.bits import (
    normals as normals,
    once as once,
    row_normals as row_normals,
    row_uniforms as row_uniforms,
    uniforms as uniforms,
)
from jaxmice.random.donors import draw_donors as draw_donors, resample as resample
from jaxmice.random.gamma import log_gamma as log_gamma
from jaxmice.random.poisson import poisson as poisson
from jaxmice.random.slice import slice_step as slice_step
from jaxmice.random.truncated import (
    log_interval as log_interval,
    normal_tail as normal_tail,
    truncated_normals as truncated_normals,
    upper_tail as upper_tail,
)
from jaxmice.random.wishart import (
    inverse_wishart_factor as inverse_wishart_factor,
    wishart_shapes as wishart_shapes,
)
