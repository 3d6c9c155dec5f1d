"""Every complaint about a model that contradicts itself or the data."""

import numpy as np
import pandas as pd
import pytest
from model_data import events, make_school

from jaxmice.errors import DataError, JaxMiceError, ModelError
from jaxmice.model import setup

CLUSTERED = {"cluster": "school", "method": {"popular": "2l.pan"}}


def row(**codes: float) -> dict:
    return {"popular": {"school": -2} | codes}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ({"method": {"popular": "2l.pam"}}, "E21", "did you mean .*'2l.pan'.*level 1: .*'pmm'"),
        ({"method": 3}, "E21", "name, a dict or a list"),
        ({"method": {"popular": 3}}, "E21", "must be a name"),
        ({"method": "logreg"}, "E22", "imputes binary.*'popular' is continuous"),
        ({"method": "fake.level2"}, "E22", "'popular' has level 1.*differ inside clusters 's0"),
        ({"method": {"popula": "pmm"}}, "E27", "not among the blocks; did you mean 'popular'"),
        ({"method": ["pmm"]}, "E27", "1 names for 6 blocks"),
        ({"cluster": None}, "E23", "pass cluster="),
        ({"cluster": None, "method": "norm", "predictor_matrix": row()}, "E23", "no cluster="),
        ({"predictor_matrix": {"popular": {"sex": 1}}}, "E23", "needs the role .cluster."),
        ({"predictor_matrix": row(iq=-2)}, "E23", "found 2: 'school', 'iq'"),
        ({"roles": {"popular": {"school": "fixed"}}}, "E23", "code 1"),
        ({"predictor_matrix": row(sex=5)}, "E25", r"\[.popular., .sex.\].*valid: -2, 0, 1, 2"),
        ({"predictor_matrix": row(sex=7, iq=9)}, "E25", r"(?s)code 7.*code 9"),
        ({"predictor_matrix": row(sex=-3)}, "E26", "Heckman"),
        ({"predictor_matrix": row(sex=-4)}, "E26", "Heckman"),
        ({"predictor_matrix": row(sex=1.5)}, "E25", "whole number"),
        ({"predictor_matrix": {"popular": {"sex": "fixed"}}}, "E25", "roles"),
        ({"method": "norm", "predictor_matrix": row(school=2)}, "E25", "cluster column: 0, 1"),
        ({"predictor_matrix": row(age=1)}, "E27", "columns 'age' not in data"),
        ({"predictor_matrix": {"popula": {"sex": 1}}}, "E27", "rows 'popula' not among the blocks"),
        ({"predictor_matrix": np.zeros((2, 2))}, "E27", r"\(2, 2\)"),
        ({"predictor_matrix": [1]}, "E27", "must be a DataFrame"),
        ({"blocks": {"a": ["popular", "x"]}}, "E27", "'x' not in data"),
        ({"blocks": {"a": []}}, "E27", "no columns"),
        ({"blocks": ["popular", "popular"]}, "E27", "several blocks"),
        ({"blocks": "scater"}, "E27", "partition"),
        ({"visit_sequence": ["popular", "popula"]}, "E49", "did you mean 'popular'"),
        ({"visit_sequence": "romn"}, "E49", "did you mean 'roman'"),
        ({"options": {"popula": {}}}, "E51", "did you mean 'popular'"),
        ({"options": {"popular": {"donor": 3}}}, "E51", "no option 'donor'"),
        ({"options": {"*": {"donors": 3}}}, "E51", "none of '2l.pan'"),
        ({"options": {"popular": {"intercept": "none"}}}, "E51", "intercept"),
        ({"screen": "of"}, "E51", "did you mean 'off'"),
        ({"ignore": [True]}, "E46", "length 360"),
        ({"ignore": np.zeros(360)}, "E46", "boolean"),
        ({"where": np.ones((2, 2), bool)}, "E20", r"\(2, 2\), data \(360, 6\)"),
        ({"where": np.ones((360, 6))}, "E20", "boolean"),
        ({"where": "mising"}, "E20", "did you mean 'missing'"),
        ({"defaults": "multilevel", "cluster": None}, "E23", "pass cluster="),
        ({"family": "bayes", "method": None}, "E21", "family"),
        ({"default_method": ["pmm"], "method": None}, "E21", "four names"),
    ],
)
def test_wrong_arguments(school, arguments, code, text) -> None:
    with pytest.raises(JaxMiceError, match=text) as error:
        setup(school, **(CLUSTERED | arguments))
    assert error.value.code == code
    assert isinstance(error.value, DataError if code in {"E20", "E46"} else ModelError)


def test_target_without_any_value(school) -> None:
    school["lost"] = np.nan
    with pytest.raises(DataError, match=r"E15: column 'lost'"):
        setup(school, **CLUSTERED)
    model = setup(school, cluster="school", method={"popular": "2l.pan", "lost": ""})
    assert model.predictor_matrix.loc["popular", "lost"] == 0


def test_too_many_predictors() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(14, 12)), columns=[f"x{k}" for k in range(12)])
    data.loc[:5, "x0"] = np.nan
    with pytest.raises(ModelError, match=r"E16: target 'x0': 12 predictors.*8 observed"):
        setup(data, "fake.ols", screen="off")
    assert events(setup(data, "norm", screen="off"), "df_small")


def test_predictor_that_stays_missing(school) -> None:
    school.loc[:20, "iq"] = np.nan
    with pytest.raises(ModelError, match=r"E19: 'iq' stays missing.*predicts 'popular'"):
        setup(school, "2l.pan", blocks=["popular"], cluster="school")
    where = school.isna()
    where.loc[3, "iq"] = False
    with pytest.raises(ModelError, match="E19"):
        setup(school, "2l.pan", where=where, cluster="school")
    with pytest.raises(ModelError, match="E19"):
        setup(school, "2l.pan", visit_sequence=["popular"], cluster="school")


def test_predictor_that_stays_missing_where_it_does_not_matter(school) -> None:
    school.loc[:2, "iq"] = np.nan
    where = school.isna()
    where.loc[:2] = False
    ignore = np.arange(len(school)) < 3
    model = setup(
        school, {"popular": "2l.pan", "iq": ""}, where=where, ignore=ignore, cluster="school"
    )
    assert model.predictor_matrix.loc["popular", "iq"] == 3


def test_predictor_that_stays_missing_is_dropped_on_request(school) -> None:
    school.loc[:20, "iq"] = np.nan
    model = setup(
        school, {"popular": "2l.pan", "iq": ""}, on_missing_predictor="drop", cluster="school"
    )
    assert model.predictor_matrix.loc["popular", "iq"] == 0
    assert [event.out for event in events(model, "missing_predictor")] == ["iq"]
    drop = {"on_missing_predictor": "drop", "cluster": "school"}
    other = setup(school, "2l.pan", visit_sequence=["popular"], **drop)
    assert other.predictor_matrix.loc["popular"].equals(model.predictor_matrix.loc["popular"])
    assert [event.dep for event in events(other, "left_missing")] == ["iq"]
    assert not other.where[:, list(school).index("iq")].any()


def test_labels_of_rows_count(school) -> None:
    school.index = school.index + 100
    there = school["school"] == "s03"
    mixed = there.sample(frac=1, random_state=1)
    model = setup(school, ignore=mixed, where=school.isna()[::-1], **CLUSTERED)
    plain = setup(school, ignore=there.to_numpy(), **CLUSTERED)
    assert np.array_equal(model.ignore, plain.ignore)
    assert np.array_equal(model.where, plain.where)
    for argument, code in (("ignore", "E46"), ("where", "E20")):
        other = (there if argument == "ignore" else school.isna()).reset_index(drop=True)
        with pytest.raises(DataError, match=f"{code}: {argument} has other row labels"):
            setup(school, **{argument: other}, **CLUSTERED)


def test_dummies_need_an_observed_value_in_every_cluster(school) -> None:
    school.loc[school["school"].isin(["s03", "s07"]), "popular"] = np.nan
    with pytest.raises(ModelError, match=r"E24: 'popular' has no observed value in .*'s03', 's07'"):
        setup(school, "norm", roles={"popular": {"school": "fixed"}}, cluster="school")


def test_targets_that_hardly_tell_clusters_apart(school) -> None:
    def told(rows) -> list[str]:
        model = setup(school.assign(popular=school["popular"].where(rows)), **CLUSTERED)
        return [event.message for event in events(model, "few_clusters")]

    clusters = school["school"].unique()
    assert "in 2 of" in told(school["school"].isin(clusters[:2]))[0]
    seen = school[school["popular"].notna()]
    assert (
        "once in a cluster" in told(school.index.isin(seen.index[~seen["school"].duplicated()]))[0]
    )
    assert told(school["school"].isin(clusters[:9])) == []


def test_where_of_a_level_2_column(school) -> None:
    where = school.isna()
    where.loc[0, "texp"] = True
    with pytest.raises(DataError, match=r"E20: where for level-2 column 'texp'.*'s00'"):
        setup(school, where=where, cluster="school")


def test_cells_that_were_deduced_need_no_imputation(school) -> None:
    school.loc[:3, "texp"] = np.nan
    model = setup(school, where=school.isna(), cluster="school")
    assert model.method["texp"] == ""
    assert len(events(model, "deduced")) == 1
    with pytest.raises(DataError, match=r"E20: .*deductive=True"):
        setup(school, cluster="school", deductive=False)


def test_dates_and_ids_are_never_imputed(plain) -> None:
    plain["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(200), "D")
    plain["note"] = [f"note {i}" for i in range(200)]
    plain.loc[5, ["day", "note"]] = pd.NaT, None
    with pytest.warns(match="W05"), pytest.raises(DataError, match="E07"):
        setup(plain)
    with pytest.warns(match="W05"):
        model = setup(plain, {"day": ""}, roles={"*": {"day": "none"}})
    assert model.method["note"] == ""
    assert [event.out for event in events(model, "id_excluded")] == ["note"]
    plain["text"] = [f"{k / 7:.3f}" for k in range(199)] + [None]
    with pytest.warns(match="W05"):
        model = setup(plain, {"day": ""}, roles={"*": {"day": "none"}})
    left = [event.message for event in events(model, "left_missing")]
    assert ["pd.to_numeric" in message for message in left] == [False, True]
    with pytest.warns(match="W05"), pytest.raises(ModelError, match=r"E25: .*'note' is an id"):
        setup(plain, {"day": ""}, roles={"*": {"day": "none"}, "y": {"note": "fixed"}})
    with (
        pytest.warns(match="W05"),
        pytest.raises(ModelError, match=r"E22: .*'note' is text with many"),
    ):
        setup(plain, {"day": "", "note": "pmm"})


@pytest.mark.filterwarnings("ignore:W14")
@pytest.mark.parametrize(
    ("codes", "text", "kept"),
    [
        ({"sex": 2, "iq": 4}, "W12: .*'sex', 'iq' enter as fixed", {"sex": 1, "iq": 3}),
        ({"school": -2, "sex": 1}, "W13: .*dummies give it code 1", {"school": 0, "sex": 1}),
    ],
)
def test_codes_without_meaning_for_a_single_level_method(school, codes, text, kept) -> None:
    with pytest.warns(match=text):
        model = setup(school, "norm", {"popular": codes}, cluster="school")
    assert model.predictor_matrix.loc["popular", list(kept)].to_dict() == kept


def test_single_level_methods_warn_of_clusters(school) -> None:
    with pytest.warns(match=r"W14: .*intraclass correlation of 0"):
        model = setup(school, "norm", cluster="school")
    assert set(model.predictor_matrix.loc["popular"]) <= {0, 1}


def test_one_warning_of_clusters_names_every_column(school) -> None:
    copies = {f"popular{k}": school["popular"] for k in range(7)}
    with pytest.warns() as seen:
        setup(school.assign(**copies), "norm", cluster="school")
    texts = [text for w in seen if (text := str(w.message)).startswith("W14")]
    assert len(texts) == 1
    assert all(f"in {name!r} (method 'norm')" in texts[0] for name in ["popular", *copies])


def test_dummies_and_level_2_columns_do_not_warn_of_clusters(school) -> None:
    setup(school, "norm", roles={"popular": {"school": "fixed"}}, cluster="school")


@pytest.mark.parametrize("left", [9, 12])
def test_few_rows_after_ignore(school, left) -> None:
    # The second case leaves more than 10 rows, but one cluster.
    ignore = np.arange(len(school)) >= left
    school["popular"] = school["popular"].where(np.arange(len(school)) != 0)
    with pytest.warns(match=f"W10: ignore leaves {left} rows in 1 clusters"):
        setup(school, "sample", ignore=ignore, cluster="school")


def test_budget_of_level_2_terms() -> None:
    data = make_school(J=8, size=40)
    model = setup(data, cluster="school")
    assert set(model.predictor_matrix.loc["popular"]) == {-2, 0, 1}
    assert len(events(model, "means_dropped")) == 1
    # What the user writes is kept.
    model = setup(data, cluster="school", roles={"popular": {"sex": "mean", "iq": "mean"}})
    assert (model.predictor_matrix.loc["popular", ["sex", "iq"]] == 3).all()


def test_more_level_2_terms_than_clusters() -> None:
    data = make_school(J=5, size=40)
    with pytest.warns(match=r"W15: 'popular': 4 level-2 terms"):
        setup(
            data.assign(other=data["iq"] ** 2),
            cluster="school",
            roles={"popular": {"sex": "mean", "iq": "mean", "other": "mean"}},
        )


def test_one_cluster_is_not_enough(school) -> None:
    with pytest.warns(match="W08"), pytest.raises(ModelError, match=r"E23: .*2 clusters"):
        setup(school[school["school"] == "s00"], "2l.pan", cluster="school")
