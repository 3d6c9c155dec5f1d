import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

import jaxmice as jm
from jaxmice import plots
from jaxmice.errors import DataError
from jaxmice.plots.holes import SEEN, SPORADIC


@pytest.fixture
def data() -> pd.DataFrame:
    """Two clusters of three rows: a is sporadic in p, b systematic in q."""
    frame = pd.DataFrame({"g": list("pqpqpq"), "a": np.arange(6.0), "b": np.arange(6.0)})
    frame.loc[0, "a"] = np.nan
    frame.loc[frame["g"] == "q", "b"] = np.nan
    return frame


def wide(p: int, J: int = 2, n: int = 4) -> pd.DataFrame:
    """Return p columns with long names, of which the first has a hole."""
    frame = pd.DataFrame({f"a_long_name_{k}": np.arange(J * n * 1.0) for k in range(p)})
    frame.iloc[0, 0] = np.nan
    return frame.assign(g=np.repeat(np.arange(J), n))


def new_axes() -> Axes:
    return Figure(figsize=(4, 4)).subplots()


def colours(ax: Axes) -> list[list[str]]:
    picture = np.asarray(ax.images[0].get_array())
    return [[matplotlib.colors.to_hex(cell) for cell in row] for row in picture]


def test_miss_is_red_where_a_cell_is_missing(data: pd.DataFrame) -> None:
    ax = new_axes()

    assert plots.plot_miss(data, ax=ax) is ax

    red = np.array(colours(ax)) == plots.IMPUTED
    np.testing.assert_array_equal(red, data.isna())
    assert ax.get_ylabel() == "row"


def test_miss_sorts_columns_by_holes_and_rows_by_pattern(data: pd.DataFrame) -> None:
    ax = plots.plot_miss(data, ordered=True)

    red = np.array(colours(ax)) == plots.IMPUTED
    assert [label.get_text() for label in ax.get_xticklabels()] == ["g", "a", "b"]
    np.testing.assert_array_equal(red[:, 2], [False, False, False, True, True, True])
    np.testing.assert_array_equal(red[:, 1], [False, False, True, False, False, False])


def test_many_rows_share_lines_and_none_is_lost() -> None:
    data = pd.DataFrame({"a": np.arange(12_000.0), "b": 1.0})
    data.loc[7_001, "a"] = np.nan

    picture = np.asarray(plots.plot_miss(data).images[0].get_array())

    seen = np.array(matplotlib.colors.to_rgb(SEEN))
    missing = np.array(matplotlib.colors.to_rgb(plots.IMPUTED))
    # 20 rows a line: the hole makes up a twentieth of the colour of its own
    np.testing.assert_allclose(picture[350, 0], seen + (missing - seen) / 20)
    np.testing.assert_allclose(np.delete(picture[:, 0], 350, axis=0), np.tile(seen, (599, 1)))


def test_layout_tells_sporadic_from_systematic_holes(data: pd.DataFrame) -> None:
    ax = new_axes()

    assert plots.plot_layout(data, "g", ax=ax) is ax

    assert colours(ax) == [[SPORADIC, SEEN], [SEEN] * 2, [SEEN] * 2] + [[SEEN, plots.IMPUTED]] * 3
    assert [label.get_text() for label in ax.get_yticklabels()] == ["p", "q"]
    assert ax.get_yticks().tolist() == [1, 4]


def test_heat_map_shows_shares_and_hatches_systematic_cells(data: pd.DataFrame) -> None:
    ax = new_axes()

    assert plots.plot_cluster_miss(data, "g", ax=ax) is ax

    shares = jm.cluster_missing(data, "g").share
    np.testing.assert_array_equal(ax.images[0].get_array(), shares)
    (hatched,) = [c for c in ax.collections if isinstance(c, PolyCollection) and c.get_hatch()]
    (square,) = hatched.get_paths()
    assert square.get_extents().bounds == (0.5, 0.5, 1, 1)


def test_every_column_is_named_where_names_have_no_room_side_by_side() -> None:
    ax = plots.plot_cluster_miss(wide(30), "g")

    labels = ax.get_xticklabels()
    assert len(labels) == 30
    assert {label.get_rotation() for label in labels} == {90}


def test_so_many_clusters_are_named_as_there_is_room_for() -> None:
    data = wide(3, J=200)

    for draw in (plots.plot_cluster_miss, plots.plot_layout):
        ax = draw(data, "g")
        named = [int(label.get_text()) for label in ax.get_yticklabels()]
        height = ax.get_window_extent().height / ax.figure.dpi
        assert 10 <= len(named) <= height / 0.125
        assert named[0] == 0


def test_flux_draws_the_table_and_names_every_column(data: pd.DataFrame) -> None:
    ax = new_axes()

    assert plots.plot_flux(data, ax=ax) is ax

    table = jm.flux(data)
    (points,) = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(points.get_xydata(), table[["influx", "outflux"]])
    assert {text.get_text() for text in ax.texts} == {"g", "a", "b"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("influx", "outflux")


def test_names_of_thirty_columns_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 30))
    values[rng.random(values.shape) < np.arange(30) / 60] = np.nan
    ax = plots.plot_flux(pd.DataFrame(values, columns=[f"x{k}" for k in range(30)]))

    ax.figure.canvas.draw()
    heights = sorted(ax.transData.transform(text.xyann)[1] for text in ax.texts)

    letters = ax.texts[0].get_fontsize() / 72 * ax.figure.dpi
    assert len(heights) > 15
    assert np.diff(heights).min() > letters


def test_columns_at_one_place_share_a_label() -> None:
    ax = plots.plot_flux(pd.DataFrame({name: [1.0, 2.0] for name in "abcde"} | {"y": [1, None]}))

    assert sorted(text.get_text() for text in ax.texts) == ["a, b, c + 2", "y"]


@pytest.mark.parametrize("draw", [plots.plot_cluster_miss, plots.plot_layout])
def test_an_unknown_cluster_column_is_named(draw, data: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"E12.*'h'"):
        draw(data, "h")
