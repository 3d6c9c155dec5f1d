"""Several cluster columns through the front door: nested, crossed, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from jaxmice.errors import DataError, ModelError
from tests.statistics import FALSE_ALARM_RATE

pytestmark = pytest.mark.filterwarnings("ignore:W")

TAU, N_SETS = (0.6, 0.9, 0.8), 80
"""Variances of the inner or first factor, the outer or second one, and of the rows."""


def grid(first: int, second: int, rows: int, *, nested: bool, seed: int) -> pd.DataFrame:
    """Return complete data on a balanced grid: ``rows`` in every pair of groups."""
    rng = np.random.default_rng(seed)
    b, a, _ = np.meshgrid(*(np.arange(k) for k in (second, first, rows)), indexing="ij")
    a, b = a.ravel(), b.ravel()
    inner = b * first + a if nested else a
    x = rng.normal(size=len(a))
    u = np.sqrt(TAU[0]) * rng.normal(size=inner.max() + 1)
    v = np.sqrt(TAU[1]) * rng.normal(size=second)
    y = 1 + 0.5 * x + u[inner] + v[b] + np.sqrt(TAU[2]) * rng.normal(size=len(a))
    return pd.DataFrame({"inner": inner, "outer": [f"b{k}" for k in b], "x": x, "y": y})


def with_holes(data: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return data with missing rows, and an eighth of the groups without any value."""
    rng = np.random.default_rng(seed + 1000)
    lost = rng.random(len(data)) < 0.15
    for name in ("inner", "outer"):
        labels = data[name].unique()
        without = rng.choice(labels, -(-len(labels) // 8), replace=False)
        lost |= data[name].isin(without).to_numpy()
    return data.assign(y=data["y"].mask(lost))


def nested_components(data: pd.DataFrame, first: int, second: int, rows: int) -> np.ndarray:
    """Return the components of variance of a balanced nested layout, by analysis of variance."""
    y = (data["y"] - 0.5 * data["x"]).to_numpy().reshape(second, first, rows)
    cell, outer = y.mean(axis=2), y.mean(axis=(1, 2))
    within = np.sum((y - cell[..., None]) ** 2) / (second * first * (rows - 1))
    inner_ms = rows * np.sum((cell - outer[:, None]) ** 2) / (second * (first - 1))
    outer_ms = rows * first * np.sum((outer - outer.mean()) ** 2) / (second - 1)
    return np.array([(inner_ms - within) / rows, (outer_ms - inner_ms) / (rows * first), within])


def crossed_components(data: pd.DataFrame, first: int, second: int, rows: int) -> np.ndarray:
    """Return those of a balanced crossed layout without interaction."""
    y = (data["y"] - 0.5 * data["x"]).to_numpy().reshape(second, first, rows)
    a, b, mean = y.mean(axis=(0, 2)), y.mean(axis=(1, 2)), y.mean()
    residual = y - a[None, :, None] - b[:, None, None] + mean
    within = np.sum(residual**2) / (y.size - first - second + 1)
    a_ms = rows * second * np.sum((a - mean) ** 2) / (first - 1)
    b_ms = rows * first * np.sum((b - mean) ** 2) / (second - 1)
    return np.array([(a_ms - within) / (rows * second), (b_ms - within) / (rows * first), within])


def bias(sizes: tuple[int, int, int], *, nested: bool, **options: object) -> np.ndarray:
    """Return, in its standard errors, how far components of imputed data lie off the truth."""
    complete = [grid(*sizes, nested=nested, seed=seed) for seed in range(N_SETS)]
    frames = [with_holes(data, seed) for seed, data in enumerate(complete)]
    done = jm.replicate(
        frames,
        2,
        {"y": "2l.pan"},
        cluster=["inner", "outer"],
        relabel_nested=None if nested else False,
        roles={"y": {"x": "fixed", **options}},
        seed=3,
    )
    components = nested_components if nested else crossed_components
    found = np.array(
        [np.mean([components(imp.complete(k), *sizes) for k in (1, 2)], axis=0) for imp in done]
    )
    return (found.mean(axis=0) - TAU) / (found.std(axis=0) / np.sqrt(N_SETS))


def test_nested_imputations_keep_both_variances() -> None:
    limit = stats.norm.isf(FALSE_ALARM_RATE / 6)
    assert np.all(np.abs(bias((4, 16, 4), nested=True)) < limit)
    # A model that knows classes only takes those without a value for any class at all.
    assert bias((4, 16, 4), nested=True, outer="none")[1] < -limit


def test_crossed_imputations_keep_both_variances() -> None:
    limit = stats.norm.isf(FALSE_ALARM_RATE / 6)
    assert np.all(np.abs(bias((12, 12, 2), nested=False)) < limit)


def school_data() -> pd.DataFrame:
    """Return pupils of classes of schools that differ much; classes hardly differ."""
    rng = np.random.default_rng(5)
    school = np.repeat(np.arange(12), 15)
    classroom = np.tile(np.repeat([1, 2, 3], 5), 12)
    y = 4 * rng.normal(size=12)[school] + 0.3 * rng.normal(size=len(school))
    data = pd.DataFrame({"class": classroom, "school": school, "town": school // 3})
    data["x"] = rng.normal(size=len(school))
    data["y"] = y + 0.5 * data["x"]
    # A class of school 0 and all of school 11 have no value.
    lost = ((school == 0) & (classroom == 2)) | (school == 11) | (rng.random(len(y)) < 0.1)
    return data.assign(y=data["y"].mask(lost))


def impute(data: pd.DataFrame, m: int = 20, **options: object) -> jm.ImputedData:
    options = {"cluster": ["class", "school"], "relabel_nested": True, "seed": 4, **options}
    return jm.mice(data, m, {"y": "2l.pan"}, roles={"y": {"x": "fixed"}}, **options)


def values(imp: jm.ImputedData) -> np.ndarray:
    return np.stack([imp.complete(k)["y"].to_numpy(float) for k in range(1, imp.m + 1)])


@pytest.fixture(scope="module")
def imputed() -> jm.ImputedData:
    return impute(school_data())


def test_groups_without_values_follow_their_level(imputed: jm.ImputedData) -> None:
    data, y = school_data(), values(imputed)
    assert np.all(np.isfinite(y))
    school, missing = data["school"].to_numpy(), data["y"].isna().to_numpy()
    lost_class = (school == 0) & (data["class"] == 2).to_numpy()
    own = np.nanmean(data["y"].to_numpy()[(school == 0) & ~missing])
    assert np.all(np.abs(y[:, lost_class].mean(axis=1) - own) < 1.5)
    # A school without values may be any school: its mean differs between imputations.
    means = y[:, school == 11].mean(axis=1)
    assert 1.5 < means.std() < 12
    assert imputed.chain_icc.shape == (1, 1, 20)
    assert np.all(imputed.chain_icc > 0.5)


@pytest.mark.parametrize("method", ["2l.pmm", "2l.bin"])
def test_the_other_methods_know_the_outer_clusters_too(method: str) -> None:
    """Classes without a value take after their school, in values and in answers."""
    data = school_data()
    y = data["y"]
    if method == "2l.bin":
        data["y"] = (y > 0).astype(float).where(y.notna())
    imp = jm.mice(
        data,
        20,
        {"y": method},
        cluster=["class", "school"],
        relabel_nested=True,
        roles={"y": {"x": "fixed"}},
        seed=2,
    )
    drawn = values(imp)
    assert set(np.unique(drawn)) <= set(data["y"].dropna())
    lost = ((data["school"] == 0) & (data["class"] == 2)).to_numpy()
    own = data["y"][data["school"] == 0].mean()
    spread = data["y"].std()
    assert abs(drawn[:, lost].mean() - own) < 0.25 * spread
    # So do not the rows of a school without any: they are as far apart as all schools.
    other = drawn[:, (data["school"] == 11).to_numpy()].mean(axis=1)
    assert other.std() > 0.4 * spread


def test_repeated_ids_are_as_good_as_unique_ones(imputed: jm.ImputedData) -> None:
    data = school_data()
    unique = data.assign(**{"class": data["class"].astype(str) + "/" + data["school"].astype(str)})
    again = impute(unique, relabel_nested=None)
    np.testing.assert_array_equal(values(again), values(imputed))
    one, other = (jm.icc(imp).drop(columns="imputation") for imp in (again, imputed))
    pd.testing.assert_frame_equal(one, other)
    assert set(one["J"]) == {32, 36}
    assert "clusters_relabelled" in {event.event for event in imputed.events}
    assert str(imputed.model).splitlines()[2].split()[2:4] == ["class,", "school"]


def test_ignored_rows_and_single_precision() -> None:
    data = school_data()
    ignore = (data["school"] == 3).to_numpy()
    shifted = data.assign(y=data["y"].where(~ignore, data["y"] + 1e3))
    drawn = [
        values(impute(d, 5, ignore=ignore, precision="float32"))[:, d["y"].isna()]
        for d in (data, shifted)
    ]
    np.testing.assert_array_equal(*drawn)
    assert np.all(np.isfinite(drawn))


def test_every_target_names_its_own_cluster_columns() -> None:
    """Three columns, of which one target uses the first and last, another the first alone."""
    data = school_data()
    data["w"] = data["x"].mask(np.random.default_rng(6).random(len(data)) < 0.2)
    imp = jm.mice(
        data.drop(columns="x"),
        2,
        {"y": "2l.pan", "w": "2l.norm"},
        cluster=["class", "school", "town"],
        relabel_nested=True,
        roles={
            "y": {"school": "none", "town": "cluster"},
            "w": {"school": "none", "town": "none"},
        },
        maxit=2,
        seed=1,
    )
    assert [visit.factors for visit in imp.model.visits] == [(1,), ()]
    assert not imp.complete(2).isna().any().any()


def test_the_default_method_takes_several_cluster_columns() -> None:
    """Residual variances differ between classes, for which one column would get 2l.norm."""
    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(24), 12)
    y = rng.normal(size=len(cluster)) * np.exp(rng.normal(size=24))[cluster]
    data = pd.DataFrame({"class": cluster, "school": cluster // 4, "y": y})
    data.loc[::7, "y"] = np.nan
    data["w"] = rng.normal(size=len(cluster))
    assert jm.setup(data, cluster="class", roles={"y": {"school": "none"}}).method["y"] == "2l.norm"
    assert jm.setup(data, cluster=["class", "school"]).method["y"] == "2l.pan"


def test_slopes_may_vary_over_outer_clusters() -> None:
    """A school's missing rows follow its own slope, of an incomplete predictor too."""
    rng = np.random.default_rng(9)
    school = np.repeat(np.arange(12), 20)
    x, w = rng.normal(size=(2, 240))
    slope = np.where(np.arange(12) % 2, 2.0, -2.0)[school]
    data = pd.DataFrame({"class": np.arange(240) // 5, "school": school, "x": x, "w": w})
    data["y"] = slope * x + 0.3 * rng.normal(size=240)
    data.loc[::11, "w"] = np.nan
    lost = rng.random(240) < 0.3
    data.loc[lost, "y"] = np.nan

    def error(**slopes: list[str]) -> float:
        imp = jm.mice(
            data,
            10,
            {"y": "2l.pan", "w": "norm"},
            cluster=["class", "school"],
            roles={"y": {"x": "fixed", "w": "fixed"}},
            options={"y": {"slopes": slopes, "prior": "pan"}},
            maxit=2,
            seed=1,
        )
        return float(np.mean((values(imp) - slope * x)[:, lost] ** 2))

    # Twice the variance of a row is what is left, and what the drawn effects add to it.
    assert error(school=["x", "w"]) < 0.4
    assert error() > 2


def test_what_cannot_be_is_refused() -> None:
    data = school_data()

    def setup(**options: object) -> None:
        given = {"method": {"y": "2l.pan"}, "cluster": ["class", "school"], "relabel_nested": True}
        jm.setup(data, **{**given, **options})

    with pytest.raises(DataError, match=r"^E13: 3 ids of cluster column 'class' occur in several"):
        setup(relabel_nested=None)
    with pytest.raises(ModelError, match=r"^E13: method '2l.norm' of 'y' takes one cluster column"):
        setup(method={"y": "2l.norm"})
    with pytest.raises(DataError, match=r"^E12: cluster 'schol' not found"):
        setup(cluster=["class", "schol"])
    with pytest.raises(
        ModelError, match=r"^E23: row 'y': the cluster 'class' needs.*first of several"
    ):
        setup(roles={"y": {"class": "none"}})
    with pytest.raises(ModelError, match=r"^E25: code 1 at \['y', 'school'\] not understood"):
        setup(roles={"y": {"school": "fixed"}})
    with pytest.raises(ModelError, match=r"^E23: row 'y': code -2 at 'x'"):
        setup(roles={"y": {"x": "cluster"}})
    for slopes in ({"school": ["town"]}, {"class": ["x"]}, {"school": "x"}, ["x"]):
        with pytest.raises(ModelError, match=r"^E51: option slopes of 'y'"):
            setup(options={"y": {"slopes": slopes}}, roles={"y": {"town": "none"}})
    data["school"] = 1
    with pytest.raises(ModelError, match=r"^E23: method '2l.pan' of 'y' needs at least 2 clusters"):
        setup()


def level_three(lost: list[str]) -> pd.DataFrame:
    """Return pupils in classes in schools, with ``w`` of schools and ``kind`` of pupils."""
    rng = np.random.default_rng(2)
    school, room = np.repeat(np.arange(8), 12), np.tile(np.repeat(np.arange(3), 4), 8)
    data = pd.DataFrame({"room": school * 3 + room, "school": school})
    data["w"], data["y"] = rng.normal(size=8)[school], rng.normal(size=96)
    kind = pd.Categorical(rng.choice(list("abc"), 96), list("abc"), ordered=True)
    data["kind"] = kind
    data["size"] = rng.normal(size=24)[data["room"]]
    for name in lost:
        rows = data["room"].isin([0, 7]) if name in ("w", "size") else np.arange(96) % 5 == 0
        data.loc[rows, name] = np.nan
    return data


@pytest.mark.parametrize("roles", [None, {"w": {"school": "none"}}])
def test_a_column_of_the_outer_clusters_is_not_drawn_for_the_inner_ones(
    roles: dict[str, dict[str, str]] | None,
) -> None:
    data = level_three(["w"])
    with pytest.raises(
        ModelError, match=r"^E13: 'w' is constant in 'school' too.*cluster='school'"
    ):
        jm.setup(data, cluster=["room", "school"], roles=roles)
    outer = jm.mice(data.drop(columns="room"), m=2, cluster="school", maxit=1, seed=1)
    assert (outer.complete(1).groupby("school")["w"].nunique() == 1).all()


def test_defaults_that_take_one_cluster_column_leave_the_outer_one_out() -> None:
    model = jm.setup(level_three(["kind", "size", "y"]), cluster=["room", "school"])
    told = {event.dep for event in model.events if event.event == "clusters_left_out"}
    assert told == {"kind", "size"}
    matrix = model.predictor_matrix
    assert matrix.loc[["kind", "size", "y"], "school"].tolist() == [0, 0, -2]
