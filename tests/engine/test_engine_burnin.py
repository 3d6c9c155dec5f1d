"""The first visit of a method is long enough to forget where it began."""

import numpy as np

import jaxmice as jm
from jaxmice.engine import Session
from jaxmice.events import EventLog
from jaxmice.model.problem import make_problem


def test_burnin_of_2l_norm_reaches_the_posterior_of_the_spread() -> None:
    data = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    model = jm.setup(
        data,
        {"popular": "2l.norm"},
        cluster="school",
        roles={"popular": {"sex": "random", "texp": "fixed"}},
    )
    problem = make_problem([model]).problem
    session = Session(
        problem,
        range(1, 201),
        2,
        precision="float64",
        device=None,
        chunk_chains=200,
        events=EventLog(),
    )
    session.advance(1)
    (chunk,) = session._chunks
    (state,) = chunk.states.values()
    # After 1,000 steps log a has mean 2.06 and standard deviation 0.42; chains that start
    # with equal precisions get stuck where all clusters have one variance, a large. Were
    # half a per cent above 4 by right, 8 of 200 chains would be in one run of 100,000.
    assert np.mean(np.asarray(state.log_a) > 4) < 0.04
