"""Every method keeps every law, through the front door; a new method is taken up unasked.

One small table has a column of every kind at both levels, all of them whole numbers where
they are numbers, so that methods for counts can impute them. In it are clusters without an
observed value, with a single row (seen or not), a predictor that is a multiple of another
one, and a constant one. Chains run one by one: so any number of them share one program.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import ModelError
from jaxmice.methods import REGISTRY, Method
from tests.statistics import FALSE_ALARM_RATE, exchange_pvalue

pytestmark = pytest.mark.filterwarnings("ignore:W")

SIZES = (10, 9, 8, 8, 8, 8, 8, 6, 1, 1)
UNSEEN = {1: (2, 9), 2: (5, 6, 9)}
"""Clusters without an observed value, by level of the column; number 9 has a single row."""

KINDS = ("continuous", "integer", "binary_numeric", "binary", "nominal", "ordinal")
SHORT = {"inner_iter": 3, "burnin": 5}


def as_kind(kind: str, count: np.ndarray) -> pd.Series:
    """Return whole numbers 0, 1, ... as a complete column of some kind."""
    third = np.digitize(count, np.quantile(count, [1 / 3, 2 / 3]))
    match kind:
        case "continuous":
            return pd.Series(count.astype(float))
        case "integer":
            return pd.Series(count).astype("Int64")
        case "binary_numeric":
            return pd.Series((third > 0).astype(float))
        case "binary":
            return pd.Series(pd.Categorical(np.where(third > 0, "yes", "no")))
        case _:
            values = np.array(["low", "mid", "top"])[third]
            return pd.Series(
                pd.Categorical(values, ["low", "mid", "top"], ordered=kind == "ordinal")
            )


@cache
def table() -> pd.DataFrame:
    """Return the rows; column ``nominal1`` is nominal and of level 1."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(len(SIZES)), SIZES)
    n, J = len(g), len(SIZES)
    data = pd.DataFrame({f"x{k}": rng.normal(size=n) for k in (1, 2, 3, 4)})
    w = rng.normal(size=J)
    data["double"], data["constant"], data["w"] = 2 * data["x1"] + 1, 3.0, w[g]
    for level in (1, 2):
        for kind in KINDS:
            # Well predicted: a draw that is put into the wrong row shows.
            rate = data["x1"] + data["w"] + 0.3 * rng.normal(size=J)[g]
            count = rng.poisson(np.exp(np.clip(0.7 + 0.7 * rate, -2, 3)))
            column = as_kind(kind, count if level == 1 else np.argsort(np.argsort(w))[g])
            hidden = np.isin(g, UNSEEN[level])
            if level == 1:
                hidden |= (rng.random(n) < 0.15) & (g != 8)
            data[f"{kind}{level}"] = column.mask(hidden)
    data.insert(0, "g", "c" + pd.Series(g).astype(str))
    return data


def is_alias(cls: type[Method]) -> bool:
    """Return whether a method is another one that stands first among its bases, renamed."""
    changed = {key for key, value in vars(cls).items() if callable(getattr(cls, key, None))}
    changed |= set(cls.__annotations__) - set(Method.__annotations__)
    # That of a dataclass, made anew for every class; methods write none.
    changed.discard("__init__")
    return cls.__bases__[0] in REGISTRY.values() and not changed


METHODS = sorted(name for name, cls in REGISTRY.items() if not is_alias(cls))
ALIASES = sorted(set(REGISTRY) - set(METHODS))


def program_of(cls: type[Method], target: str) -> Any:
    """Return what decides whether two columns of one method share a program."""
    if cls.joint:
        return None
    categories = table()[target].dtype
    size = len(categories.categories) if isinstance(categories, pd.CategoricalDtype) else 0
    return jax.tree.structure(cls().for_column(target[:-1], size))


@cache
def targets_of(cls: type[Method]) -> tuple[str, ...]:
    """Return columns of the table that a method imputes, by no more than two programs."""
    fitting = [
        f"{kind}{level}" for level in sorted(cls.levels) for kind in KINDS if kind in cls.kinds
    ]
    if cls.joint and "binary" in cls.kinds:
        # To a block whole numbers are numbers, and 0 and 1 are categories.
        fitting = [t for t in fitting if not t.startswith(("integer", "binary_numeric"))]
    programs = list(dict.fromkeys(program_of(cls, target) for target in fitting))
    return tuple(target for target in fitting if program_of(cls, target) in programs[:2])


def codes_of(cls: type[Method], target: str, *, random: bool = True) -> dict[str, int]:
    """Return the row of a target: every code that the method declares, each on a predictor."""
    codes = sorted(cls.codes) if random else [c for c in sorted(cls.codes) if c in (1, 3)]
    codes = codes or sorted(cls.codes)
    row = {f"x{k}": code for k, code in enumerate(codes, 1) if code in (1, 2, 3, 4)}
    least = codes[0]
    row |= {"double": least, "constant": least, "w": least}
    if cls.name == "2l.groupmean":
        row = {"x1": 2}
    if cls.needs_cluster:
        row["g"] = -2
    return row


def setup_of(
    name: str, targets: Sequence[str] | None = None, data: pd.DataFrame | None = None, **more: Any
) -> dict[str, Any]:
    """Return the arguments of `mice` that impute columns by a method."""
    cls, random = REGISTRY[name], more.pop("random", True)
    targets = targets_of(cls) if targets is None else targets
    data = table() if data is None else data
    own = {target: codes_of(cls, target, random=random) for target in targets}
    if not cls.joint and len(targets) > 1 and 1 in cls.codes:
        # Also a predictor that is itself imputed.
        own[targets[1]][targets[0]] = 1
    used = ["g", "x1", "x2", "x3", "x4", "double", "constant", "w", *targets]
    blocks = {"all": list(targets)} if cls.joint else {target: [target] for target in targets}
    rows = {block: own[members[0]] for block, members in blocks.items()}
    matrix = pd.DataFrame(0, index=list(blocks), columns=used)
    for block, row in rows.items():
        matrix.loc[block, list(row)] = list(row.values())
    known = {key: value for key, value in SHORT.items() if key in cls.option_names()}
    options = {block: known | more.get("options", {}) for block in blocks}
    settings = {
        "data": data[used],
        "method": name,
        "predictor_matrix": matrix,
        "blocks": blocks,
        "cluster": "g",
        "screen": "off",
        "seed": 5,
        "maxit": 2,
        "m": 2,
        "chunk_chains": 1,
    }
    return settings | more | {"options": options}


@cache
def base(name: str) -> jm.ImputedData:
    return jm.mice(**setup_of(name))


def can_fill(cls: type[Method], target: str) -> np.ndarray:
    """Return the rows whose cells the method can fill."""
    if not cls.own_cluster_only:
        return np.ones(len(table()), bool)
    return ~np.isin(table()["g"], [f"c{j}" for j in UNSEEN[int(target[-1])]])


def check_legal(cls: type[Method], completed: pd.DataFrame, data: pd.DataFrame) -> None:
    """Check that a completed table holds values that its columns can take."""
    for target in targets_of(cls):
        if target not in completed:
            continue
        seen, column = data[target].notna(), completed[target]
        if not target.startswith("integer") or cls.donor_based:
            assert column.dtype == data[target].dtype
        pd.testing.assert_series_equal(column[seen], data.loc[seen, target], check_dtype=False)
        filled = column[can_fill(cls, target)]
        assert filled.notna().all(), target
        observed = set(data[target].dropna())
        categories = isinstance(column.dtype, pd.CategoricalDtype)
        if cls.donor_based or categories or (target.startswith("binary_") and not numeric(cls)):
            assert set(filled) <= observed, target
        if not categories:
            assert np.isfinite(filled.astype(float)).all(), target
        if not cls.standardised and cls.needs_observed and "integer" in cls.kinds:
            # A method that draws raw numbers has its reasons: they are counts.
            whole = filled.astype(float)
            assert (whole >= 0).all(), target
            assert (whole == whole.round()).all(), target
        if target[-1] == "2":
            inside = completed.assign(value=column.astype(object)).groupby("g")["value"]
            assert (inside.nunique() <= 1).all(), target


def numeric(cls: type[Method]) -> bool:
    """Return whether a method takes 0/1 columns for numbers like any other."""
    return "continuous" in cls.kinds


def assert_begins(more: jm.ImputedData, imp: jm.ImputedData, **close: float) -> None:
    """Check that the first imputations of one run are those of another."""
    assert list(more.imp) == list(imp.imp)
    for target, cells in imp.imp.items():
        pd.testing.assert_frame_equal(more.imp[target][list(cells.columns)], cells, **close)


ALIKE = {"mean", "norm.predict", "2lonly.mean", "2l.groupmean"}
"""Methods whose imputations are all alike."""

N_SHUFFLED = 12
"""Imputations before rows are shuffled, and after."""


def drawn_in_two_orders(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of the draws of every cell of a column, and of those from shuffled rows."""
    target = targets_of(REGISTRY[name])[0]
    order = np.random.default_rng(3).permutation(len(table()))
    one = jm.mice(**setup_of(name, m=N_SHUFFLED, maxit=1)).imp[target]
    shuffled = setup_of(name, data=table().iloc[order], m=N_SHUFFLED, maxit=1, seed=6)
    other = jm.mice(**shuffled).imp[target].loc[one.index]
    # Without the digits that another order of sums changes.
    both = pd.concat([one, other], axis=1).astype(object)
    both = both.map(lambda v: round(v, 9) if isinstance(v, float) else v)
    number = np.unique(both, return_inverse=True)[1].reshape(both.shape)
    return number[:, :N_SHUFFLED], number[:, N_SHUFFLED:]


@pytest.mark.parametrize("name", METHODS, scope="module")
class TestMethod:
    """One after the other, so that they share the programs that the first one compiles."""

    def test_fills_all_kinds_levels_and_clusters_with_legal_values(self, name: str) -> None:
        imp = base(name)
        for frame in imp:
            check_legal(REGISTRY[name], frame, imp.data)

    def test_same_seed_same_result_and_more_imputations_begin_alike(self, name: str) -> None:
        assert_begins(jm.mice(**setup_of(name)), base(name))
        assert_begins(jm.mice(**setup_of(name, m=3)), base(name))

    def test_goes_on_where_it_stopped(self, name: str) -> None:
        halves = jm.mice(**setup_of(name, maxit=1)).continue_run(1)
        assert_begins(halves, base(name))

    def test_ignored_rows_have_no_influence(self, name: str) -> None:
        """Nor has what stands for values that were not observed: methods are told of both alike."""
        cls, data = REGISTRY[name], table().copy()
        if not cls.needs_observed:
            pytest.skip("computed from predictors, of all rows")
        ignore = ((data["g"] == "c3") | (np.arange(len(data)) % 7 == 3)).to_numpy()
        for target in targets_of(cls):
            seen = ignore & data[target].notna().to_numpy() & (target[-1] == "1")
            data.loc[seen, target] = data[target].dropna().iloc[0]
        data.loc[ignore, "x1"] += 5
        one = jm.mice(**setup_of(name, ignore=ignore))
        other = jm.mice(**setup_of(name, data=data, ignore=ignore))
        for target in one.imp:
            elsewhere = one.imp[target].index.intersection(np.flatnonzero(~ignore))
            left, right = (imp.imp[target].loc[elsewhere] for imp in (one, other))
            pd.testing.assert_frame_equal(left, right, rtol=1e-9)

    def test_observed_cells_are_imputed_on_request(self, name: str) -> None:
        cls, settings = REGISTRY[name], setup_of(name)
        target, data = targets_of(cls)[0], settings["data"]
        where = data.isna()
        where[target] = True
        imp = jm.mice(**settings, where=where)
        fillable = can_fill(cls, target)
        assert len(imp.imp[target]) >= np.sum(fillable)
        drawn = imp.complete(1)[target][fillable]
        assert drawn.notna().all()
        assert imp.data[target].equals(data[target])

    def test_order_of_rows_leaves_the_law_unchanged(self, name: str) -> None:
        """Draws of all cells at once; one false alarm in 10,000."""
        one, other = drawn_in_two_orders(name)
        assert exchange_pvalue(one, other) > FALSE_ALARM_RATE
        assert (name in ALIKE) == np.all(one == one[:, :1])

    def test_codes_that_it_does_not_declare_are_refused_or_translated(self, name: str) -> None:
        cls = REGISTRY[name]
        for code in {1, 2, 3, 4} - cls.codes:
            settings = setup_of(name, data=table())
            settings["predictor_matrix"].loc[:, "x1"] = code
            for run_only in ("seed", "maxit", "m", "chunk_chains"):
                settings.pop(run_only)
            try:
                model = jm.setup(**settings)
            except ModelError:
                continue
            # With a warning, or because it reads no predictors at all.
            used = set(np.ravel(model.predictor_matrix.drop(columns="g").loc[list(base(name).imp)]))
            assert used <= cls.codes | {0}

    def test_a_larger_data_set_beside_it_changes_nothing(self, name: str) -> None:
        """Its shape is larger, so rows, blocks and clusters fill up."""
        if not REGISTRY[name].needs_cluster:
            pytest.skip("clusters are not in its shape")
        settings = setup_of(name)
        data = settings.pop("data")
        beside = data.assign(g=data["g"] + "b")[data["g"].isin(["c0", "c3", "c4", "c5"])]
        larger = pd.concat([data, beside], ignore_index=True)
        first, _ = jm.replicate([data, larger], **settings)
        assert_begins(first, base(name), rtol=1e-6)

    def test_single_precision_fresh_starts_and_no_random_effect(self, name: str) -> None:
        cls = REGISTRY[name]
        targets = targets_of(cls) if cls.joint else targets_of(cls)[:1]
        options: dict[str, Any] = {"restart": True} if "restart" in cls.option_names() else {}
        fixed = cls.needs_cluster and 1 in cls.codes and 1 in cls.levels and cls.needs_observed
        if fixed:
            options["intercept"] = "fixed"
        settings = setup_of(name, targets, random=not fixed, options=options, m=1)
        imp = jm.mice(**settings, precision="float32")
        check_legal(cls, imp.complete(1), imp.data)


def test_draws_put_into_wrong_rows_are_noticed() -> None:
    """The wrong twin of the law on the order of rows."""
    one, other = drawn_in_two_orders("2l.pan")
    assert exchange_pvalue(one, np.roll(other, 1, axis=0)) < FALSE_ALARM_RATE


@pytest.mark.parametrize("name", ALIASES)
def test_another_name_of_a_method_differs_in_declarations_only(name: str) -> None:
    """All laws hold by those of the method itself."""
    cls = REGISTRY[name]
    original = cls.__bases__[0]
    assert original.kinds == cls.kinds
    assert original.option_names() == cls.option_names()


def test_no_method_is_named_in_two_places() -> None:
    files = [cls.__module__ for cls in REGISTRY.values()]
    named = [cls.name for cls in REGISTRY.values()]
    assert sorted(named) == sorted(REGISTRY)
    assert all(file.startswith("jaxmice.methods.") for file in files)
    assert set(jm.methods().index) == set(REGISTRY)
    assert ALIASES
