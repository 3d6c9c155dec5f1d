from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import jaxmice as jm
from jaxmice import plots
from jaxmice.diagnostics import Overimputed
from jaxmice.errors import DataError
from jaxmice.imputed import ImputedData
from jaxmice.plots.relations import ROLES
from tests.frames import two_level


@pytest.fixture(scope="module")
def imp() -> ImputedData:
    data = two_level(["y", "x"]).drop(columns="g")
    return jm.mice(data, m=3, maxit=5, method="norm", seed=1)


def new_axes(n: int | None = None) -> Axes:
    figure = Figure(figsize=(6, 4))
    return figure.subplots() if n is None else figure.subplots(1, n)


def test_correlations_use_the_rows_that_have_both() -> None:
    data = two_level(["y", "x", "z"]).drop(columns="g")
    ax = new_axes()

    assert plots.plot_corr(data, ax=ax) is ax

    shown = np.asarray(ax.images[0].get_array())
    expected = data.corr().to_numpy()
    np.testing.assert_allclose(shown[~np.eye(4, dtype=bool)], expected[~np.eye(4, dtype=bool)])
    assert [label.get_text() for label in ax.get_xticklabels()] == list("wxyz")


def test_correlations_are_divided_into_within_and_between() -> None:
    data = two_level([])
    shown = np.asarray(plots.plot_corr(data, "g").images[0].get_array())

    means = data.groupby("g").mean()
    deviations = data.drop(columns="g") - data.groupby("g").transform("mean")
    assert shown[0, 1] == pytest.approx(deviations["w"].corr(deviations["x"]))
    assert shown[1, 0] == pytest.approx(means["w"].corr(means["x"]))


def test_thirty_columns_are_drawn_without_numbers() -> None:
    values = np.random.default_rng(0).normal(size=(50, 30))
    ax = plots.plot_corr(pd.DataFrame(values, columns=[f"column_{k}" for k in range(30)]))

    assert len(ax.texts) == 0
    assert len(ax.get_xticklabels()) == len(ax.get_yticklabels()) == 30


def test_predictor_matrix_shows_codes_and_methods(imp: ImputedData) -> None:
    ax = new_axes()

    assert plots.plot_pred(imp, ax=ax) is ax

    codes = imp.predictor_matrix.to_numpy()
    assert len(ax.texts) == np.count_nonzero(codes)
    picture = np.asarray(ax.images[0].get_array())
    assert to_hex(picture[list(imp.predictor_matrix.index).index("y"), 0]) == ROLES[1][1]
    (beside,) = ax.child_axes
    assert [label.get_text() for label in beside.get_yticklabels()] == ["", "norm", "norm", ""]


def test_values_without_partner_lie_on_the_axes() -> None:
    data = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0], "b": [1.0, np.nan, 3.0, 5.0]})
    ax = new_axes()

    assert plots.plot_xy(data, "a", "b", ax=ax) is ax

    both, bottom, left = ax.lines
    assert both.get_xydata().tolist() == [[1, 1], [4, 5]]
    assert (bottom.get_xdata().tolist(), left.get_ydata().tolist()) == ([2], [3])
    assert [line.get_color() for line in ax.lines] == [plots.OBSERVED] + [plots.IMPUTED] * 2


def test_every_imputation_has_its_panel(imp: ImputedData) -> None:
    given = new_axes(3)
    axes = plots.plot_xy(imp, "x", "y", ax=given)

    assert list(axes) == list(given)
    drawn = imp.where[["x", "y"]].any(axis=1)
    np.testing.assert_allclose(axes[1].lines[1].get_ydata(), imp.complete(2).loc[drawn, "y"])
    assert len(plots.plot_xy(imp, "x", "y")) == 3


def test_histograms_are_shares_of_all_values(imp: ImputedData) -> None:
    ax = new_axes()

    assert plots.plot_hist(imp, "y", ax=ax) is ax

    assert len(ax.patches) == 4
    for patch in ax.patches:
        assert patch.get_data().values.sum() == pytest.approx(1)


def test_convergence_draws_the_table(imp: ImputedData) -> None:
    given = new_axes(2)
    axes = plots.plot_convergence(imp, ax=given)

    assert list(axes) == list(given)
    table = imp.convergence()
    lines = {line.get_label(): line for line in axes[0].lines}
    rows = table[table["variable"] == "y"]
    np.testing.assert_array_equal(lines["y"].get_ydata(), rows["psrf"])
    assert axes[0].get_ylabel() == "R-hat of the mean"


def test_overimputed_cells_are_red_where_they_are_not_covered() -> None:
    cells = pd.DataFrame(
        {"variable": "y", "observed": [1.0, 2.0, 3.0], "mean": [1.1, 2.2, 5.0]}
        | {"low": [0.0, 1.0, 4.0], "high": [2.0, 3.0, 6.0], "covered": [True, True, False]}
    )
    result = Overimputed(cells, pd.DataFrame({"variable": ["y"]}), pd.DataFrame(), 0.9)
    ax = new_axes()

    assert plots.plot_overimpute(result, "y", ax=ax) is ax

    points = {line.get_color(): line.get_ydata().tolist() for line in ax.lines[:2]}
    assert points == {plots.OBSERVED: [1.1, 2.2], plots.IMPUTED: [5.0]}
    assert ax.get_title() == "66.7% of the 90% intervals cover"
    with pytest.raises(ValueError, match="'x' was not overimputed"):
        plots.plot_overimpute(result, "x")


def test_values_are_drawn_against_the_propensity(imp: ImputedData) -> None:
    score = np.linspace(0, 1, len(imp.data))
    ax = new_axes()

    assert plots.plot_propensity(imp, "y", score, 2, ax=ax) is ax

    drawn = imp.where["y"].to_numpy()
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), score[drawn])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), imp.imp["y"][2])


def test_widths_are_those_of_the_first_imputations() -> None:
    rng = np.random.default_rng(0)
    params, cov = rng.normal(size=(6, 2)), np.tile(np.eye(2), (6, 1, 1))
    ax = new_axes()

    assert plots.plot_ciwidth((params, cov), ax=ax) is ax

    def width(k: int) -> float:
        row = jm.pool((params[:k], cov[:k])).summary().iloc[0]
        return row["conf.high"] - row["conf.low"]

    line = ax.lines[0]
    assert line.get_xdata().tolist() == [2, 3, 4, 5, 6]
    assert line.get_ydata()[1] == pytest.approx(width(3) / width(6))


def test_trend_is_the_mean_over_imputations(imp: ImputedData) -> None:
    axes = plots.plot_trace(imp, "y", "mean", trend=True)

    expected = imp.chain_mean[imp.variables.index("y")].mean(axis=1)
    np.testing.assert_allclose(axes[0, 0].lines[-1].get_ydata(), expected)
    # without clusters there is no ICC to draw
    assert plots.plot_trace(imp).shape == (2, 2)


def test_what_cannot_be_drawn_is_said(imp: ImputedData) -> None:
    with pytest.raises(DataError, match="E12"):
        plots.plot_xy(imp.data, "x", "v")
    with pytest.raises(DataError, match="E02"):
        plots.plot_corr(pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": pd.Categorical(list("uvw"))}))
    with pytest.raises(ValueError, match="there is no code 7"):
        plots.plot_pred(pd.DataFrame([[7]]))
    with pytest.raises(ValueError, match="need a predictor matrix"):
        plots.plot_pred(SimpleNamespace())
    with pytest.raises(ValueError, match="score has shape"):
        plots.plot_propensity(imp, "y", [0.5])
    with pytest.raises(ValueError, match="no imputation 9"):
        plots.plot_propensity(imp, "y", np.ones(len(imp.data)), 9)
    with pytest.raises(ValueError, match="three imputations"):
        plots.plot_ciwidth((np.ones((2, 1)), np.ones((2, 1, 1))))
    with pytest.raises(ValueError, match="four iterations"):
        plots.plot_convergence(jm.mice(imp.data, m=3, maxit=0, method="norm", seed=1))
