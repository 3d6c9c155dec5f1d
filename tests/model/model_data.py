"""Methods that only declare, data, and a look at the log."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from jaxmice.methods import Method


class Fake(Method):
    """A method that only declares; nothing is ever drawn from it."""

    size: int = 1

    def init(self, key, target):
        raise NotImplementedError

    def step(self, key, state, target, n_steps):
        raise NotImplementedError

    def impute(self, key, state, target):
        raise NotImplementedError


class SlopesOnly(Fake):
    name: ClassVar[str] = "fake.slopes"
    kinds: ClassVar[frozenset[str]] = frozenset({"continuous"})
    codes: ClassVar[frozenset[int]] = frozenset({2})
    cluster_codes: ClassVar[frozenset[int]] = frozenset({-2})
    needs_cluster: ClassVar[bool] = True


class LevelTwo(Fake):
    name: ClassVar[str] = "fake.level2"
    kinds: ClassVar[frozenset[str]] = frozenset({"continuous", "integer"})
    codes: ClassVar[frozenset[int]] = frozenset({1, 3})
    cluster_codes: ClassVar[frozenset[int]] = frozenset({-2})
    needs_cluster: ClassVar[bool] = True
    levels: ClassVar[frozenset[int]] = frozenset({2})


class Unpenalised(Fake):
    name: ClassVar[str] = "fake.ols"
    kinds: ClassVar[frozenset[str]] = frozenset({"continuous"})
    codes: ClassVar[frozenset[int]] = frozenset({1})
    regularised: ClassVar[bool] = False


class Binary(Fake):
    name: ClassVar[str] = "fake.bin"
    kinds: ClassVar[frozenset[str]] = frozenset({"binary"})
    codes: ClassVar[frozenset[int]] = frozenset({1})


def make_school(J: int = 30, size: int = 12, seed: int = 0) -> pd.DataFrame:
    """Pupils in schools: a number per pupil, an incomplete score, sex, ability, experience."""
    rng = np.random.default_rng(seed)
    n, g = J * size, np.repeat(np.arange(J), size)
    sex = rng.integers(0, 2, n)
    texp = rng.uniform(2, 25, J).round(2)
    iq = rng.normal(100, 15, n) + rng.normal(0, 8, J)[g]
    score = 0.02 * iq + sex + 0.1 * texp[g] + rng.normal(0, 0.8, J)[g] + rng.normal(size=n)
    data = pd.DataFrame(
        {
            "school": pd.Series([f"s{j:02d}" for j in g], dtype="category"),
            "pupil": np.tile(np.arange(1, size + 1), J),
            "popular": score,
            "sex": pd.Categorical(np.where(sex, "girl", "boy")),
            "iq": iq,
            "texp": texp[g],
        }
    )
    data.loc[rng.random(n) < 0.3, "popular"] = np.nan
    return data


def events(model: Any, name: str) -> list[Any]:
    return [event for event in model.events if event.event == name]
