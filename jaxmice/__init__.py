"""Multiple imputation of incomplete clustered data by chained equations, on JAX.

Three calls take a data frame with holes to a pooled table:

>>> import jaxmice as jm
>>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
>>> imp = jm.mice(d, m=5, method={"popular": "2l.pan"}, cluster="school",
...               roles={"popular": {"sex": "random", "texp": "fixed"}}, seed=1)
>>> fit = imp.analyze("popular ~ sex * texp + (1 + sex | school)")
>>> list(jm.pool(fit).summary()["term"])
['Intercept', 'sex', 'texp', 'sex:texp']
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

from jaxmice import datasets as datasets, errors as errors, post as post
from jaxmice.imputed import ImputedData as ImputedData
from jaxmice.method_table import methods as methods
from jaxmice.methods import Method as Method, register_method as register_method
from jaxmice.mice import mice as mice, replicate as replicate
from jaxmice.model import (
    ImputationModel as ImputationModel,
    Suggestion as Suggestion,
    find_default_method as find_default_method,
    impute_deductive as impute_deductive,
    make_blocks as make_blocks,
    make_formulas as make_formulas,
    make_method as make_method,
    make_predictor_matrix as make_predictor_matrix,
    make_visit_sequence as make_visit_sequence,
    make_where as make_where,
    quickpred as quickpred,
    role as role,
    setup as setup,
    suggest as suggest,
)

if TYPE_CHECKING:
    from jaxmice import plots as plots
    from jaxmice.amputation import (
        AmputedData as AmputedData,
        Level2 as Level2,
        Sporadic as Sporadic,
        Systematic as Systematic,
        ampute as ampute,
        multilevel_ampute as multilevel_ampute,
    )
    from jaxmice.analysis import (
        Analyses as Analyses,
        analyze as analyze,
        complete_case as complete_case,
        lmm as lmm,
        multilevel_r2 as multilevel_r2,
        register_extractor as register_extractor,
        with_ as with_,
    )
    from jaxmice.combine import (
        as_imputed as as_imputed,
        cbind as cbind,
        from_list as from_list,
        ibind as ibind,
        rbind as rbind,
    )
    from jaxmice.exchange import (
        read_data as read_data,
        read_long_csv as read_long_csv,
        read_mitml_list as read_mitml_list,
        read_parquet as read_parquet,
        read_spss_mi as read_spss_mi,
        read_stata_mi as read_stata_mi,
    )
    from jaxmice.missingness import (
        check_icc as check_icc,
        cluster_missing as cluster_missing,
        fico as fico,
        flux as flux,
        icc as icc,
        is_monotone as is_monotone,
        md_pairs as md_pairs,
        md_pattern as md_pattern,
        missingness_table as missingness_table,
        nelson_aalen as nelson_aalen,
        propensity as propensity,
    )
    from jaxmice.pooling import (
        PooledResults as PooledResults,
        anova as anova,
        compare_models as compare_models,
        constraint_test as constraint_test,
        how_many_imputations as how_many_imputations,
        mix_draws as mix_draws,
        pool as pool,
        pool_chi2 as pool_chi2,
        pool_correlations as pool_correlations,
        pool_F as pool_F,
        pool_p_values as pool_p_values,
        pool_quantity as pool_quantity,
        pool_scalar as pool_scalar,
        pool_table as pool_table,
    )
    from jaxmice.repeated import boot_mi as boot_mi, two_stage as two_stage
    from jaxmice.sensitivity import (
        DeltaAdjustment as DeltaAdjustment,
        delta_adjustment as delta_adjustment,
    )
    from jaxmice.sklearn import MICEImputer as MICEImputer
    from jaxmice.storage import load as load, resume as resume

__version__ = _version("jaxmice")

_LATER = {
    "amputation": (
        "AmputedData",
        "Level2",
        "Sporadic",
        "Systematic",
        "ampute",
        "multilevel_ampute",
    ),
    "analysis": (
        "Analyses",
        "analyze",
        "complete_case",
        "lmm",
        "multilevel_r2",
        "register_extractor",
        "with_",
    ),
    "combine": ("as_imputed", "cbind", "from_list", "ibind", "rbind"),
    "exchange": (
        "read_data",
        "read_long_csv",
        "read_mitml_list",
        "read_parquet",
        "read_spss_mi",
        "read_stata_mi",
    ),
    "missingness": (
        "check_icc",
        "cluster_missing",
        "fico",
        "flux",
        "icc",
        "is_monotone",
        "md_pairs",
        "md_pattern",
        "missingness_table",
        "nelson_aalen",
        "propensity",
    ),
    "repeated": ("boot_mi", "two_stage"),
    "sensitivity": ("DeltaAdjustment", "delta_adjustment"),
    "sklearn": ("MICEImputer",),
    "storage": ("load", "resume"),
    "pooling": (
        "PooledResults",
        "anova",
        "compare_models",
        "constraint_test",
        "how_many_imputations",
        "mix_draws",
        "pool",
        "pool_F",
        "pool_chi2",
        "pool_correlations",
        "pool_p_values",
        "pool_quantity",
        "pool_scalar",
        "pool_table",
    ),
}
"""What is imported when it is first used, so that `import jaxmice` is quick."""


_MODULES = ("datasets", "errors", "plots", "post")

__all__ = sorted(
    {*_MODULES, *(name for names in _LATER.values() for name in names)}
    | {
        name
        for name, value in globals().items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("jaxmice.")
    }
)


def __dir__() -> list[str]:
    """List what is public."""
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name == "plots":
        return _import_module("jaxmice.plots")
    for room, names in _LATER.items():
        if name in names:
            return getattr(_import_module(f"jaxmice.{room}"), name)
    raise AttributeError(f"module 'jaxmice' has no attribute {name!r}")
