import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.diagnostics import split_rhat
from jaxmice.diagnostics.inference_data import import_arviz
from jaxmice.errors import DataError, JaxMiceWarning
from jaxmice.imputed import ImputedData
from tests.frames import two_level


@pytest.fixture(scope="module")
def imp() -> ImputedData:
    return jm.mice(
        two_level(["y", "x"]),
        m=4,
        maxit=9,
        cluster="g",
        method={"y": "2l.pan", "x": "2l.pan"},
        seed=1,
    )


@pytest.mark.parametrize("t", [4, 5, 12])
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_rhat_is_that_of_arviz(t: int, spread: float) -> None:
    pytest.importorskip("arviz")
    rng = np.random.default_rng(t)
    draws = rng.standard_t(3, size=(t, 5)) + spread * np.arange(5)

    assert split_rhat(draws) == pytest.approx(float(import_arviz().rhat(draws.T)), rel=1e-12)


def test_rhat_sees_a_difference_in_spread_and_none_in_units() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(50, 4))
    wide = draws * [1, 1, 1, 10]

    assert split_rhat(draws) < 1.1 < split_rhat(wide)
    assert split_rhat(3 + 7 * draws) == pytest.approx(split_rhat(draws), rel=1e-12)


def test_rhat_is_undefined_where_there_is_nothing_to_compare() -> None:
    rng = np.random.default_rng(0)

    assert np.isnan(split_rhat(rng.normal(size=(3, 4))))
    assert np.isnan(split_rhat(rng.normal(size=(9, 1))))
    assert np.isnan(split_rhat(np.ones((9, 4))))


def test_convergence_has_a_row_for_every_iteration(imp: ImputedData) -> None:
    table = imp.convergence(parameter="all")

    assert list(table.columns) == [".it", "variable", "parameter", "ac", "psrf"]
    assert len(table) == 4 * 2 * 9
    part = table[(table["variable"] == "y") & (table["parameter"] == "sd")]
    sd = np.sqrt(imp.chain_var[imp.variables.index("y")])
    assert part[".it"].tolist() == list(range(1, 10))
    assert part["psrf"].isna().tolist() == [True] * 3 + [False] * 6
    assert part["psrf"].iloc[-1] == split_rhat(sd)
    assert part["psrf"].iloc[5] == split_rhat(sd[:6])


def test_autocorrelation_across_chains_is_a_mean_of_correlations(imp: ImputedData) -> None:
    draws = imp.chain_mean[0]
    by_hand = [np.corrcoef(draws[s - 1], draws[s])[0, 1] for s in range(1, 9)]

    plain = imp.convergence("ac", cumulative=False)
    mean = imp.convergence("ac")

    assert np.isnan(plain["ac"].iloc[0])
    np.testing.assert_allclose(plain["ac"].iloc[1:9], by_hand)
    np.testing.assert_allclose(mean["ac"].iloc[1:9], np.cumsum(by_hand) / np.arange(1, 9))


def test_autocorrelation_within_chains_is_that_of_lag_one(imp: ImputedData) -> None:
    draws = imp.chain_mean[0]
    centred = draws - draws.mean(axis=0)
    by_hand = (centred[1:] * centred[:-1]).sum(axis=0) / (centred**2).sum(axis=0)

    table = imp.convergence("ac", ac="within")

    assert table["ac"].iloc[8] == pytest.approx(by_hand.mean())
    assert table["ac"].iloc[:9].isna().tolist() == [True] * 3 + [False] * 6


def with_traces(imp: ImputedData, mean: np.ndarray, variance: np.ndarray) -> ImputedData:
    """Return the result with other traces (variable, iteration, m)."""
    return ImputedData(
        data=imp.data,
        model=imp.model,
        cells=imp._cells,
        traces={"mean": mean, "variance": variance, "between": variance, "within": variance},
        m=imp.m,
        iteration=mean.shape[1],
        info=imp.info,
        events=imp.events,
        run=imp._run,
    )


def test_verdicts_tell_settled_from_drifting_and_flat_chains(imp: ImputedData) -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(2, 200, 4))
    settled = with_traces(imp, noise, np.exp(noise[::-1]))
    drift = noise.copy()
    drift[0] += np.linspace(0, 9, 200)[:, None]
    drift[1] = 5.0
    drifting = with_traces(imp, drift, np.exp(noise) * [[[1]], [[0]]])

    assert settled.converged()["verdict"].tolist() == ["converged", "converged"]
    table = drifting.converged()
    assert table["verdict"].tolist() == ["not yet", "no verdict"]
    assert table["flat"].tolist() == [False, True]
    assert table["rhat"].iloc[0] > 1.5
    assert np.isnan(table["rhat"].iloc[1])


def test_chains_that_follow_their_past_are_not_converged(imp: ImputedData) -> None:
    # every chain keeps its place, so that iterations correlate over chains
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(2, 40, 4)) + 0.8 * np.arange(4)

    table = with_traces(imp, noise, np.ones_like(noise)).converged(rhat=10)

    assert (table["ac"] > 0.2).all()
    assert table["verdict"].tolist() == ["not yet", "not yet"]


def test_a_run_goes_on_until_it_has_converged(imp: ImputedData) -> None:
    limit = 1.2
    longer = imp.run_until(limit, max_iter=60, step=10)

    assert (longer.converged(rhat=limit)["rhat"] <= limit).all()
    assert (longer.iteration - imp.iteration) % 10 == 0
    np.testing.assert_array_equal(longer.chain_mean[:, :9], imp.chain_mean)
    assert longer.run_until(limit) is longer


def test_a_run_that_does_not_converge_ends_with_a_warning(imp: ImputedData) -> None:
    with pytest.warns(JaxMiceWarning, match=r"W34: after 12 iterations R-hat is above 0\.5 for '"):
        longer = imp.run_until(0.5, max_iter=12)

    assert longer.iteration == 12


def test_full_adds_effective_sizes(imp: ImputedData) -> None:
    pytest.importorskip("arviz")
    table = imp.convergence("full")

    draws = imp.chain_mean[0].T
    last = table.iloc[8]
    assert last["ess_bulk"] == pytest.approx(float(import_arviz().ess(draws, method="bulk")))
    assert last["mcse"] == pytest.approx(float(import_arviz().mcse(draws, method="mean")))
    assert table["ess_tail"].iloc[:3].isna().all()


def test_traces_become_an_object_of_arviz(imp: ImputedData) -> None:
    pytest.importorskip("arviz")
    posterior = imp.to_inference_data().posterior

    assert dict(posterior.sizes) == {"chain": 4, "draw": 9}
    assert set(posterior) == {f"{what}_{name}" for what in ("mean", "sd", "icc") for name in "xy"}
    k = imp.variables.index("x")
    np.testing.assert_array_equal(posterior["icc_x"], imp.chain_icc[k].T)


def test_without_arviz_the_message_says_what_to_install(
    imp: ImputedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "arviz", None)

    with pytest.raises(ImportError, match=r"pip install 'jaxmice\[bayes\]'"):
        imp.to_inference_data()


def test_what_cannot_be_judged_is_said(imp: ImputedData) -> None:
    with pytest.raises(DataError, match=r"E51.*parameter must be one of 'mean', 'sd'"):
        imp.convergence(parameter="median")
    with pytest.raises(DataError, match=r"E51.*diagnostic"):
        imp.convergence("rhat")
    with pytest.raises(DataError, match=r"E51.*'across' or 'within'"):
        imp.convergence(ac="lag")
    with pytest.raises(DataError, match="E09"):
        imp.select([1]).run_until()
    with pytest.raises(DataError, match="E10"):
        imp.run_until(step=0)


def test_a_result_without_iterations_has_no_verdict() -> None:
    start = jm.mice(two_level(), m=2, maxit=0, cluster="g", method="2l.pan", seed=1)

    assert start.convergence().empty
    assert start.converged()["verdict"].tolist() == ["no verdict"]
    assert isinstance(start.converged(), pd.DataFrame)
