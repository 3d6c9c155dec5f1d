import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import jaxmice as jm
from jaxmice import plots
from jaxmice.imputed import ImputedData
from jaxmice.missingness import icc

TABLE = pd.DataFrame(
    {
        "term": ["Intercept", "x"],
        "estimate": [1.0, 2.0],
        "conf.low": [0.5, 1.0],
        "conf.high": [1.5, 3.0],
    }
)


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    frame = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    return frame[frame["school"] <= 12]


@pytest.fixture(scope="module")
def imp(data: pd.DataFrame) -> ImputedData:
    return jm.mice(data, m=3, maxit=2, cluster="school", method={"popular": "2l.pan"}, seed=1)


def new_axes() -> Axes:
    return Figure().subplots()


@pytest.mark.parametrize("name", ["plot_box", "plot_strip", "plot_density"])
def test_comparisons_draw_observed_blue_and_imputed_red_on_the_given_axes(
    name: str, imp: ImputedData
) -> None:
    ax = new_axes()

    assert getattr(plots, name)(imp, "popular", ax=ax) is ax

    colours = [to_rgba(line.get_color()) for line in ax.lines]
    assert to_rgba(plots.OBSERVED) in colours
    assert to_rgba(plots.IMPUTED) in colours


def test_densities_by_group_are_those_of_the_group_alone(imp: ImputedData) -> None:
    panels = plots.plot_density(imp, "popular", by="sex")
    assert [panel.get_title() for panel in panels] == ["sex 0", "sex 1"]
    for sex, panel in enumerate(panels):
        alone = plots.plot_density(imp.filter((imp.data["sex"] == sex).to_numpy()), "popular")
        for found, expected in zip(panel.lines, alone.lines, strict=True):
            np.testing.assert_allclose(found.get_xydata(), expected.get_xydata())


def test_groups_without_two_different_values_are_marks(imp: ImputedData) -> None:
    rows = imp.data.index
    seen = rows[imp.data["popular"].notna()]
    # A group with one observed and no imputed value, one with nothing observed, the rest.
    labels = pd.Series("rest", index=rows)
    labels[seen[0]], labels[imp.data["popular"].isna()] = "one", "imputed"
    axes = [new_axes() for _ in range(3)]
    imputed, one, rest = plots.plot_density(imp, "popular", by=labels, ax=axes)
    assert [imputed, one, rest] == axes
    marks = [[line.get_marker() == "|" for line in panel.lines] for panel in axes]
    assert marks == [[False, False, False, True], [True] * 4, [True, True, True, False]]
    drawn = [len(line.get_xdata()) for line in one.lines]
    assert drawn == [0, 0, 0, 1]
    assert one.lines[-1].get_xdata()[0] == imp.data.loc[seen[0], "popular"]
    with pytest.raises(ValueError, match=r"by has \d+ groups, more than 120 panels can show"):
        plots.plot_density(imp, "popular", by=rows)
    with pytest.raises(ValueError, match="E12: column 'Sex' not found; did you mean 'sex'"):
        plots.plot_density(imp, "popular", by="Sex")


def test_strip_has_a_point_for_every_value(imp: ImputedData) -> None:
    ax = plots.plot_strip(imp, "popular")

    drawn = [line.get_ydata() for line in ax.lines if line.get_marker() == "."]
    np.testing.assert_array_equal(drawn[0], imp.data["popular"].dropna())
    for i in range(1, 4):
        np.testing.assert_array_equal(drawn[i], imp.imp["popular"][i])


def test_pattern_draws_missing_cells_red(data: pd.DataFrame) -> None:
    ax = plots.plot_pattern(data, cluster="school")

    colours = [patch.get_facecolor()[:3] for patch in ax.patches]
    assert len(colours) == 8
    assert colours.count(to_rgba(plots.IMPUTED)[:3]) == 1


def test_pattern_keeps_the_most_frequent(data: pd.DataFrame) -> None:
    rare = data.assign(sex=data["sex"].astype(float))
    rare.iloc[0, 2] = np.nan

    ax = plots.plot_pattern(rare, npat=2, rotate=True)

    assert len(ax.patches) == 8
    assert ax.get_title() == "the 2 most frequent of 3 patterns"


def test_bars_of_few_values_are_shares_of_each_side(data: pd.DataFrame) -> None:
    ax = plots.plot_conditional(data, "sex", "popular")

    heights = [bar.get_height() for bar in ax.patches]
    missing = data["popular"].isna()
    girls = data.loc[missing, "sex"].mean()
    assert heights[2:] == pytest.approx([1 - girls, girls])


def test_histograms_of_numbers_add_up_to_one_each(data: pd.DataFrame) -> None:
    ax = plots.plot_conditional(data.assign(age=np.arange(len(data)) / 7), "age", "popular")

    # each side is drawn twice, as area and as outline; the areas are the bars
    assert sum(bar.get_height() for bar in ax.patches if hasattr(bar, "get_height")) == (
        pytest.approx(2)
    )


def test_trace_shows_mean_sd_and_icc(imp: ImputedData) -> None:
    axes = plots.plot_trace(imp)

    assert axes.shape == (1, 3)
    lines = np.array([line.get_ydata() for line in axes[0, 1].lines])
    np.testing.assert_allclose(lines, np.sqrt(imp.chain_var[0]).T)


def test_icc_says_the_mean_of_each_strategy(imp: ImputedData) -> None:
    ax = plots.plot_icc({"one": imp, "two": imp}, "popular", reference=0.58)

    table = icc(imp)
    assert table["imputation"].tolist() == [0, 1, 2, 3]
    dots = [line.get_xdata() for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[0], table["icc"][1:])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two"]


def test_estimates_have_a_panel_per_term_and_take_their_axes() -> None:
    axes = plots.plot_estimates({"a": TABLE, "b": TABLE}, reference=TABLE)
    given = Figure().subplots(1, 2)

    assert [ax.get_title() for ax in axes] == ["Intercept", "x"]
    assert list(plots.plot_estimates({"a": TABLE}, ax=given)) == list(given)
    with pytest.raises(ValueError, match="2 panels, ax= holds 1"):
        plots.plot_estimates({"a": TABLE}, ax=given[0])


def test_what_cannot_be_drawn_is_named(imp: ImputedData, data: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="did you mean 'popular'"):
        plots.plot_box(imp, "popularity")
    with pytest.raises(ValueError, match="'median' is not traced"):
        plots.plot_trace(imp, stat="median")
    with pytest.raises(ValueError, match="nothing to compare"):
        plots.plot_conditional(data, "texp", "sex")
    with pytest.raises(ValueError, match=r"lacks the columns conf\.low"):
        plots.plot_estimates({"a": TABLE.drop(columns="conf.low")})
    with pytest.raises(ValueError, match="no term 'z'"):
        plots.plot_estimates({"a": TABLE}, ["z"])


def test_drawing_touches_no_global_state(tmp_path: object) -> None:
    code = (
        "import sys, pandas as pd, matplotlib; before = matplotlib.rcParams.copy()\n"
        "from jaxmice.plots import plot_pattern\n"
        "ax = plot_pattern(pd.DataFrame({'a': [1, None], 'b': [1, 2]}))\n"
        f"ax.figure.savefig({str(tmp_path)!r} + '/a.svg')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert list(matplotlib.rcParams.copy().items()) == list(before.items())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_estimates_of_one_result(imp: ImputedData) -> None:
    fits = imp.analyze("popular ~ sex")
    assert [len(plots.plot_estimates(one)) for one in (fits, fits.pool(), TABLE)] == [2, 2, 2]
    with pytest.raises(ValueError, match="results by name, got int"):
        plots.plot_estimates(5)
