import numpy as np
import pandas as pd

from jaxmice.datasets import load_popmis
from jaxmice.missingness import cluster_missing

NA = np.nan


def test_types_levels_and_counts_by_cluster() -> None:
    data = pd.DataFrame(
        {
            "study": ["b", "b", "a", "a", "c", "c"],
            "age": [40.0, 41, 50, NA, NA, NA],
            "year": [1990.0, NA, 1995, 1995, 2000, 2000],
            "sex": ["m", "f", "m", "m", "f", "f"],
        }
    )

    found = cluster_missing(data, "study")

    assert list(found.type.index) == ["b", "a", "c"]
    assert found.type["age"].tolist() == ["complete", "sporadic", "systematic"]
    assert found.share["age"].tolist() == [0, 0.5, 1]
    assert found.summary["level"].to_dict() == {"age": 1, "year": 2, "sex": 1}
    assert found.summary.loc["age", ["complete", "sporadic", "systematic"]].tolist() == [1, 1, 1]
    assert found.summary["observed"].to_dict() == {"age": 2, "year": 3, "sex": 3}
    # two of three ages lie at the ends of the range; another row of the cluster shows the year
    assert found.summary["branch"].to_dict() == {
        "age": "bounded", "year": "deductive", "sex": ""
    }  # fmt: skip
    assert found.by_cluster["size"].tolist() == [2, 2, 2]
    assert found.by_cluster["sporadic"].tolist() == [1, 1, 0]
    assert found.by_cluster["systematic"].tolist() == [0, 0, 1]
    head, titles, *rows = repr(found).splitlines()
    assert head == "ClusterMissing: 6 rows in 3 clusters of 'study'"
    assert titles.split() == list(found.summary)
    assert len(rows) == 3


def test_popularity_is_missing_sporadically_in_every_school() -> None:
    summary = cluster_missing(load_popmis(), "school").summary

    assert summary.loc["popular", "sporadic"] == 100
    assert summary.loc["popular", "share"] == 848 / 2000
    assert summary.loc["texp", "level"] == 2


def test_complete_data_have_nothing_to_choose_a_method_for() -> None:
    data = pd.DataFrame({"g": [1, 1, 2, 2], "x": [1.0, 2.0, 4.0, 3.0]})

    summary = cluster_missing(data, "g").summary

    assert summary["share"].tolist() == [0.0]
    assert summary["branch"].tolist() == [""]
