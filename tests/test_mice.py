"""Runs of `mice` from data frame to completed data."""

import os
import pickle
import signal
import subprocess
import sys
import warnings
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.engine import run as engine_run
from jaxmice.errors import DataError, JaxMiceWarning, ModelError, RunError
from jaxmice.methods import REGISTRY
from jaxmice.methods.norm import Norm
from tests.frames import CLUSTERS, SIZE, two_level

pytestmark = pytest.mark.filterwarnings("ignore:W")

SHORT = {"*": {"inner_iter": 3, "burnin": 5}}


def impute(data: pd.DataFrame, **options: Any) -> jm.ImputedData:
    settings: dict[str, Any] = {"method": "norm", "m": 2, "maxit": 1, "seed": 3, "cluster": "g"}
    return jm.mice(data, **settings | options)


@pytest.fixture(scope="module")
def mixed() -> pd.DataFrame:
    """Rows out of order, text ids, nullable numbers and categories, holes in four columns."""
    made = jm.datasets.make_popular(J=15, n_j=8, missing=0.3, seed=2).incomplete
    rng = np.random.default_rng(5)
    data = pd.DataFrame(
        {
            "school": "school " + made["school"].astype(str),
            "popular": made["popular"],
            "sex": pd.Categorical(np.where(made["sex"] > 0, "girl", "boy")),
            "texp": made["texp"].astype("Int64"),
            "grade": np.rint(made["teachpop"]).astype("Int64"),
            "teachpop": made["teachpop"].astype("Float64"),
        }
    )
    for name, share in (("sex", 0.2), ("grade", 0.15), ("teachpop", 0.25)):
        data.loc[rng.random(len(data)) < share, name] = pd.NA
    data = data.iloc[rng.permutation(len(data))]
    return data.set_index(pd.Index(rng.permutation(len(data)) * 10))


METHODS = {"popular": "2l.norm", "sex": "logreg", "grade": "pmm", "teachpop": "2l.pan"}


@pytest.fixture(scope="module")
def completed(mixed: pd.DataFrame) -> jm.ImputedData:
    return jm.mice(mixed, m=2, maxit=3, method=METHODS, cluster="school", seed=1, options=SHORT)


def test_mice_several_methods_complete_all_columns(
    completed: jm.ImputedData, mixed: pd.DataFrame
) -> None:
    assert completed.method == {"school": "", "texp": ""} | METHODS
    for frame in completed:
        assert frame.notna().all(axis=None)
        assert frame.dtypes.equals(mixed.dtypes)
        assert frame.index.equals(mixed.index)
        for name in mixed:
            seen = mixed[name].notna()
            pd.testing.assert_series_equal(frame.loc[seen, name], mixed.loc[seen, name])


def test_mice_donors_are_observed_values(completed: jm.ImputedData, mixed: pd.DataFrame) -> None:
    assert set(np.ravel(completed.imp["grade"])) <= set(mixed["grade"].dropna())


def test_mice_leaves_the_data_alone(mixed: pd.DataFrame) -> None:
    before = mixed.copy(deep=True)
    jm.mice(mixed, m=1, maxit=0, method=METHODS, cluster="school", seed=1)
    pd.testing.assert_frame_equal(mixed, before)


def test_mice_default_number_of_iterations() -> None:
    single = impute(two_level(), maxit=None)
    assert single.iteration == 1
    assert "univariate" in set(single.logged_events["event"])
    assert impute(two_level(("x", "y")), maxit=None).iteration == 10


def test_mice_model_made_before() -> None:
    data = two_level(("x", "y"))
    model = jm.setup(data, "norm", cluster="g")
    imp = jm.mice(model=model, m=2, maxit=1, seed=3)
    np.testing.assert_array_equal(imp.imp["y"], impute(data).imp["y"])


@pytest.mark.parametrize("maxit", [0, None, 2])
def test_mice_complete_data_come_back_without_draws(maxit: int | None) -> None:
    data = two_level(())
    imp = impute(data, method="2l.pan", maxit=maxit)
    assert imp.variables == []
    assert len(imp) == 2
    assert imp.chain_mean.shape[0] == 0
    for frame in imp:
        pd.testing.assert_frame_equal(frame, data)


def complaints(data: pd.DataFrame, **options: object) -> list[str]:
    """Return the codes of the warnings about how the run is made."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        impute(data, **options)
    codes = [str(one.message)[:3] for one in caught]
    return [code for code in codes if code in ("W17", "W18", "W33")]


def test_mice_warns_of_equal_starting_values() -> None:
    data = two_level(("x", "y"))
    for init in ("mean", data.fillna(0.0)):
        assert complaints(data, init=init, maxit=2) == ["W18"]
        assert complaints(data, init=init, maxit=1) == []
        assert complaints(data, init=init, maxit=2, m=1) == []
    assert complaints(data, maxit=2) == []


def test_mice_warns_of_few_imputations_of_a_column_that_is_mostly_missing() -> None:
    data = two_level(("y",))
    data.loc[data.index < 60, "y"] = np.nan
    with pytest.warns(JaxMiceWarning, match=r"W33: more than half of 'y' .* m = 19"):
        impute(data, m=19)
    assert complaints(data, m=20) == []
    # Of rows that are not ignored.
    assert complaints(data, ignore=np.arange(96) < 60) == []


def test_one_pass_of_a_monotone_pattern_needs_no_starting_values() -> None:
    data = two_level(())
    data.loc[data.index % 4 == 0, "y"] = np.nan
    data.loc[data.index % 2 == 0, "x"] = np.nan
    call: dict[str, Any] = {"visit_sequence": "monotone", "method": "norm"}
    assert "W17" not in complaints(data, **call)
    imp = impute(data, **call)
    assert imp.predictor_matrix.loc["y"].to_dict() == {"g": 0, "w": 1, "x": 0, "y": 0, "z": 1}
    assert imp.predictor_matrix.loc["x", "y"] == 1
    # Whatever the values in the end are started with.
    other = impute(data, init=data.fillna(1e3), **call)
    pd.testing.assert_frame_equal(imp.complete(2), other.complete(2))
    assert impute(data, maxit=2, **call).predictor_matrix.loc["y", "x"] == 1
    assert complaints(data, roles={"y": {"x": "none"}}, **call) == []
    # What is computed from a later column comes later.
    squared = impute(data.assign(square=data["x"] ** 2), passive={"square": "x^2"}, **call)
    assert squared.predictor_matrix.loc[["y", "x"], "square"].tolist() == [0, 0]
    pd.testing.assert_series_equal(squared.complete(1)["y"], imp.complete(1)["y"])


def test_one_pass_of_another_pattern_is_told() -> None:
    call = {"visit_sequence": "monotone"}
    assert complaints(two_level(("x", "y")), **call) == ["W17"]
    assert complaints(two_level(("x", "y")), maxit=2, **call) == []


def test_mice_without_iterations_gives_starting_values() -> None:
    data = two_level(("x", "y"))
    imp = impute(data, maxit=0, m=3)
    assert imp.iteration == 0
    assert imp.chain_mean.shape == (2, 0, 3)
    observed = data["y"].dropna().to_numpy()
    assert np.isclose(imp.imp["y"].to_numpy()[..., None], observed).any(axis=-1).all()


def test_mice_starts_from_means_or_a_frame() -> None:
    data = two_level(("x", "y"))
    by_mean = impute(data, maxit=0, init="mean")
    np.testing.assert_allclose(by_mean.imp["y"], data["y"].mean())
    start = two_level(())
    by_frame = impute(data, maxit=0, init=start[::-1])
    pd.testing.assert_frame_equal(by_frame.complete(2), start, rtol=1e-12)
    with pytest.raises(DataError, match="E47: init has other row labels"):
        impute(data, maxit=0, init=start.set_axis(start.index + 1))


@pytest.mark.parametrize("cells", ["all", "observed", "frame"])
@pytest.mark.parametrize("incomplete", [("y",), ()], ids=["incomplete", "complete"])
def test_mice_imputes_observed_cells_on_request(cells: str, incomplete: tuple[str, ...]) -> None:
    data = two_level(incomplete)
    where: Any = cells
    if cells == "frame" or (cells == "observed" and incomplete):
        where = pd.DataFrame(False, index=data.index, columns=data.columns)
        where["y"] = True
    elif cells == "observed":
        where = data.notna().assign(g=False)
    imp = impute(data, where=where, roles={"y": {"w": "fixed"}})
    assert len(imp.imp["y"]) == len(data)
    assert imp.complete(1)["y"].notna().all()
    assert not np.isclose(imp.complete(1)["y"], two_level(())["y"]).any()


def test_mice_observed_cells_without_iterations() -> None:
    data = two_level(("y",))
    imp = impute(data, where="all", maxit=0)
    assert imp.complete(1).notna().all(axis=None)


def test_mice_overimputed_cells_keep_their_value_as_predictors() -> None:
    data = two_level(("y",))
    plain = impute(data, roles={"x": {"y": "none"}, "y": {"x": "fixed"}})
    where = data.isna().assign(x=True)
    over = impute(
        data,
        where=where,
        visit_sequence=["x", "y"],
        roles={"x": {"y": "none"}, "y": {"x": "fixed"}},
    )
    np.testing.assert_allclose(over.imp["y"], plain.imp["y"], rtol=1e-9)


def test_mice_ignored_rows_are_imputed_but_have_no_influence() -> None:
    data = two_level()
    ignore = np.arange(len(data)) < 2 * SIZE
    other = data.assign(y=data["y"].where(~ignore, data["y"] + 100))
    one, two = impute(data, ignore=ignore), impute(other, ignore=ignore)
    np.testing.assert_allclose(one.imp["y"], two.imp["y"], rtol=1e-9)
    assert len(one.imp["y"]) == data["y"].isna().sum()
    assert not np.allclose(one.imp["y"], impute(data).imp["y"])


def test_mice_new_names_of_clusters_change_nothing() -> None:
    data = two_level()
    named = data.assign(g="c" + (99 - data["g"]).astype(str))
    settings: dict[str, Any] = {"method": "2l.pan", "options": SHORT}
    np.testing.assert_array_equal(
        impute(data, **settings).imp["y"], impute(named, **settings).imp["y"]
    )


@pytest.mark.parametrize("method", ["2l.pan", "2l.norm"])
def test_mice_units_do_not_matter(method: str) -> None:
    data = two_level()
    plain = impute(data, method=method, options=SHORT).imp["y"]
    moved = impute(
        data.assign(y=1e4 + 50 * data["y"], x=3 + 7 * data["x"]), method=method, options=SHORT
    ).imp["y"]
    np.testing.assert_allclose((moved - 1e4) / 50, plain, rtol=1e-6, atol=1e-6)


def test_mice_order_of_rows_leaves_the_law_unchanged() -> None:
    data = two_level()
    shuffled = data.iloc[np.random.default_rng(1).permutation(len(data))]
    settings: dict[str, Any] = {"m": 200, "method": "2l.pan"}
    one = impute(data, **settings).imp["y"]
    two = impute(shuffled, seed=4, **settings).imp["y"].loc[one.index]
    error = np.sqrt((one.var(axis=1) + two.var(axis=1)) / 200)
    z = (one.mean(axis=1) - two.mean(axis=1)) / error
    assert np.abs(z).max() < 4.5
    assert abs(np.mean(z)) < 2


EDGES = {
    "two clusters": lambda: two_level(clusters=2, size=48),
    "clusters of one row": lambda: two_level(clusters=96, size=1),
    "a cluster without values": lambda: two_level().assign(y=lambda d: d["y"].mask(d["g"] == 3)),
    "one cluster with values": lambda: two_level().assign(y=lambda d: d["y"].mask(d["g"] != 3)),
    "a constant predictor": lambda: two_level().assign(x=2.0),
}


@pytest.mark.parametrize("method", ["2l.pan", "2l.norm"])
@pytest.mark.parametrize("edge", EDGES)
def test_mice_edges_give_finite_values(edge: str, method: str) -> None:
    data = EDGES[edge]()
    imp = impute(data, method=method, screen="off")
    assert np.isfinite(imp.complete(1)["y"]).all()
    assert np.isfinite(imp.complete(2)["y"]).all()


def test_mice_large_clusters() -> None:
    imp = impute(two_level(clusters=3, size=20_000), method="2l.pan", options=SHORT)
    assert np.isfinite(imp.imp["y"]).all(axis=None)


def test_mice_progress_is_called_after_every_visit() -> None:
    calls: list[tuple[int, str]] = []
    impute(two_level(("x", "y")), maxit=2, progress=lambda *call: calls.append(call))
    assert calls == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_mice_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    impute(two_level(("x", "y")), maxit=2, progress=True)
    assert "4/4" in capfd.readouterr().err


def test_mice_interrupt_keeps_the_iterations_done() -> None:
    def stop(iteration: int, block: str) -> None:
        if (iteration, block) == (2, "x"):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    data = two_level(("x", "y"))
    imp = impute(data, maxit=5, progress=stop)
    assert imp.iteration == 2
    assert "interrupted" in set(imp.logged_events["event"])
    np.testing.assert_array_equal(imp.imp["y"], impute(data, maxit=2).imp["y"])
    assert signal.getsignal(signal.SIGINT) is before
    again = imp.continue_run(3)
    np.testing.assert_array_equal(again.imp["y"], impute(data, maxit=5).imp["y"])


def test_mice_further_imputations_come_whole_or_not_at_all() -> None:
    def stop(iteration: int, block: str) -> None:
        if (iteration, block) == (1, "x"):
            signal.raise_signal(signal.SIGINT)

    imp = impute(two_level(("x", "y")), maxit=2)
    with pytest.raises(RunError, match="E56"):
        imp.add_imputations(1, progress=stop)
    assert imp.m == 2


def test_mice_second_interrupt_stops_at_once() -> None:
    def stop(iteration: int, block: str) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        impute(two_level(), progress=stop)
    assert signal.getsignal(signal.SIGINT) is before


def test_mice_32_bits_agree_with_64() -> None:
    data = two_level()
    settings: dict[str, Any] = {"m": 50, "method": "norm"}
    double = impute(data, **settings)
    single = impute(data, precision="float32", **settings)
    assert (double.info["precision"], single.info["precision"]) == ("float64", "float32")
    spread = double.imp["y"].std(axis=1)
    shift = (single.imp["y"] - double.imp["y"]).mean(axis=1)
    # The draws use other bits, so only means over imputations can agree.
    assert np.abs(shift / (spread * np.sqrt(2 / 50))).max() < 4.5


def test_mice_device_by_name_or_object() -> None:
    data = two_level()
    one, two = impute(data, device="cpu"), impute(data, device=jax.devices("cpu")[0])
    np.testing.assert_array_equal(one.imp["y"], two.imp["y"])


def test_mice_leaves_the_configuration_of_jax_alone() -> None:
    before = dict(jax.config.values)
    impute(two_level())
    assert dict(jax.config.values) == before


def test_mice_import_leaves_the_configuration_of_jax_alone() -> None:
    code = "import jax; b = dict(jax.config.values); import jaxmice; assert b == jax.config.values"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


class Hopeless(Norm):
    """Returns what is no number in some share of the rows."""

    name: ClassVar[str] = "test.hopeless"

    def impute(self, key: Any, state: Any, target: Any) -> Any:
        drawn = super().impute(key, state, target)
        return jnp.where(target.wy, jnp.nan, drawn)


class Unlucky(Norm):
    """Returns one value that is no number, in the first cell to impute."""

    name: ClassVar[str] = "test.unlucky"

    def impute(self, key: Any, state: Any, target: Any) -> Any:
        drawn = super().impute(key, state, target)
        first = jnp.argmax(jnp.ravel(target.wy))
        return jnp.ravel(drawn).at[first].set(jnp.nan).reshape(drawn.shape)


def test_mice_many_draws_that_are_no_numbers_stop_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(REGISTRY, Hopeless.name, Hopeless)
    with pytest.raises(RunError, match=r"E31.*'y'.*iteration 1, chain 1.*24 non-finite"):
        impute(two_level(), method=Hopeless.name)


def test_mice_a_few_draws_that_are_no_numbers_are_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(REGISTRY, Unlucky.name, Unlucky)
    monkeypatch.setattr(engine_run, "MAX_BAD", 0.1)
    imp = impute(two_level(), method=Unlucky.name)
    events = imp.logged_events.set_index("event")
    assert events.loc["nonfinite", "dep"] == "y"
    assert imp.complete(1)["y"].notna().all()


def test_mice_numbers_of_extreme_size_stop_the_run() -> None:
    data = two_level()
    with pytest.raises(RunError, match=r"E31.*rescale"):
        impute(data.assign(y=1e300 * data["y"]), standardize=False)


def test_mice_numbers_of_large_size_are_standardised() -> None:
    data = two_level()
    scaled = impute(data.assign(y=1e120 * data["y"])).imp["y"]
    np.testing.assert_allclose(scaled / 1e120, impute(data).imp["y"], rtol=1e-9)


def test_mice_replicate_needs_equal_models_only() -> None:
    frames = [two_level(seed=s).drop(index=range(s)) for s in (0, 1, 2)]
    results = jm.replicate(frames, method="norm", m=2, seed=1, cluster="g", screen="off")
    for frame, imp in zip(frames, results, strict=True):
        assert imp.complete(2).notna().all(axis=None)
        assert len(imp.complete(1)) == len(frame)
        assert len(imp.imp["y"]) == frame["y"].isna().sum()
    assert CLUSTERS == results[2].complete(1)["g"].nunique()
    with pytest.raises(DataError, match=r"E02.*\[data\]"):
        jm.replicate(frames[0])


@pytest.mark.parametrize("method", ["2l.pmm", "logreg", "2l.ordinal"])
def test_mice_parameters_that_are_no_numbers_stop_the_run(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where what is drawn is a number whatever they are: a donor, or a category."""
    cls = REGISTRY[method]

    class Lost(cls):  # type: ignore[misc, valid-type]
        name: ClassVar[str] = "test.lost"

        def step(self, *arguments: Any, **options: Any) -> Any:
            state = super().step(*arguments, **options)
            return jax.tree.map(
                lambda leaf: leaf * jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
                state,
            )

    monkeypatch.setitem(REGISTRY, Lost.name, Lost)
    data = two_level()
    if method != "2l.pmm":
        cut = (data["y"] > 0).astype(float) + (method == "2l.ordinal") * (data["y"] > 1)
        data["y"] = pd.Categorical(cut.where(data["y"].notna()), ordered=True)
    with pytest.raises(RunError, match=r"E31.*'y'.*iteration 1, chain 1.*24 non-finite"):
        impute(data, method=Lost.name)


def test_mice_a_pickled_run_goes_on_in_its_precision() -> None:
    imp = impute(two_level(), method="2l.norm", options=SHORT)
    again = pickle.loads(pickle.dumps(imp))
    for one, other in zip(again.continue_run(1), imp.continue_run(1), strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_mice_takes_a_suggestion_for_its_model() -> None:
    plan = jm.suggest(two_level(), "g", "y ~ x + (1 | g)")
    one, other = (jm.mice(model=model, m=2, maxit=1, seed=1) for model in (plan, plan.model))
    pd.testing.assert_frame_equal(one.complete(1), other.complete(1))
    with pytest.raises(ModelError, match=r"^E50: model= takes what setup\(\) returns, got int"):
        jm.mice(model=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["2l.pan", "2l.norm", "pmm", "2l.jomo", "2l.2stage.norm"])
def test_mice_a_column_may_be_computed_after_it_predicts(method: str) -> None:
    """Before that it is zero throughout, which tells nothing of its coefficient."""
    data = two_level().assign(mean=np.nan)
    chosen = {"y": method, "mean": "2l.groupmean"}
    roles = {"mean": {"x": "random", "w": "none", "y": "none", "z": "none"}}
    options = None if method == "pmm" else {"y": SHORT["*"]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        imp = impute(data, method=chosen, roles=roles, maxit=2, options=options)
    assert imp.complete(1).notna().all(axis=None)
    assert not [w for w in caught if "W33" in str(w.message)]


def test_mice_post_processing_of_complete_columns_is_told() -> None:
    imp = impute(two_level(), post={"x": jm.post.squeeze(0, 1)})
    assert "post_unused" in set(imp.logged_events["event"])
