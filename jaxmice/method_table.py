"""The table of imputation methods."""

import pandas as pd

from jaxmice.methods import REGISTRY


def methods() -> pd.DataFrame:
    """Return what every imputation method takes and where it comes from.

    Returns
    -------
    One row per method: what it imputes (``kinds``), the predictor ``codes`` that it
    honours besides 0, whether it needs a ``cluster`` column, whether a visit draws
    ``exact``ly from its model, its options and its source.
    """
    rows = [
        {
            "method": name,
            "imputes": cls.summary,
            "kinds": ", ".join(sorted(cls.kinds)),
            "level": ", ".join(map(str, sorted(cls.levels))),
            "codes": ", ".join(map(str, sorted(cls.codes | cls.cluster_codes))),
            "cluster": cls.needs_cluster,
            "exact": cls.exact,
            "options": ", ".join(cls.option_names()),
            "source": cls.source,
        }
        for name, cls in sorted(REGISTRY.items())
    ]
    return pd.DataFrame(rows).set_index("method")
