"""The analysis model as the set-up reads it: which columns it relates, and how."""

import keyword
from dataclasses import dataclass

from jaxmice.errors import ModelError
from jaxmice.formula import split_formula
from jaxmice.frame import Frame
from jaxmice.model.expressions import parse
from jaxmice.model.formulas import CODE, Factors, call_of, formula_terms
from jaxmice.model.names import check_names


def quote(name: str) -> str:
    """Return a column name as formulas write it."""
    plain = name.isidentifier() and not keyword.iskeyword(name)
    return name if plain else f"`{name}`"


@dataclass(frozen=True)
class Term:
    """A term of the analysis model."""

    factors: Factors
    columns: frozenset[str]

    @property
    def text(self) -> str:
        """As a formula writes it."""
        return ":".join(self.factors)

    def main(self, frame: Frame) -> bool:
        """Say whether the term is a column as it is."""
        return len(self.factors) == 1 and call_of(self.factors[0])[1] in frame.columns


@dataclass(frozen=True)
class Analysis:
    """The analysis model.

    Parameters
    ----------
    outcome
        Its outcome.
    terms, slopes
        Terms with fixed effects, without the intercept, and those with random slopes.
    dummies
        One dummy per cluster, and no random part.
    """

    outcome: str
    terms: tuple[Term, ...]
    slopes: tuple[Term, ...]
    dummies: bool

    @property
    def columns(self) -> list[str]:
        """Columns of the model, the outcome first."""
        used = (name for term in (*self.terms, *self.slopes) for name in sorted(term.columns))
        return list(dict.fromkeys([self.outcome, *used]))


def read_analysis(formula: str, frame: Frame) -> Analysis:
    """Read the formula of an analysis model.

    Raises
    ------
    ModelError
        E17: the outcome predicts itself; E18: a formula that cannot be used; E27: an unknown
        outcome.
    """
    outcome, fixed, parts = split_formula(formula, lambda message: ModelError(CODE, message))
    outcome = outcome.strip("`")
    clusters = frame.clusters.names if frame.clusters else ()
    if outcome not in frame.columns:
        check_names([outcome], frame.columns, "E27", "suggest: the outcome {} is not in data")
    if frame.columns[outcome].level == 0:
        raise ModelError(CODE, f"formula {formula!r}: the outcome {outcome!r} is the cluster")
    grouping = [part.cluster for part in parts]
    check_names(grouping, clusters, CODE, "formula: {} not among the cluster columns")
    known = [name for name in frame.columns if name not in (outcome, *clusters)]

    def read(text: str) -> list[Term]:
        found = [t for t in formula_terms(text, formula, known) if t]
        return [Term(_quoted(factors, frame), _columns(factors, frame)) for factors in found]

    terms = read(fixed)
    slopes = [t for p in parts if p.cluster == clusters[0] for t in read(p.effects)]
    for term in (*terms, *slopes):
        if outcome in term.columns:
            raise ModelError("E17", f"formula {formula!r} uses {outcome!r} as predictor of itself")
    dummies = any(set(clusters) & term.columns for term in terms)
    kept = tuple(term for term in terms if not set(clusters) & term.columns)
    return Analysis(outcome, kept, tuple(slopes), dummies and not parts)


def _columns(factors: Factors, frame: Frame) -> frozenset[str]:
    out: set[str] = set()
    for factor in factors:
        name = call_of(factor)[1]
        if name in frame.columns:
            out.add(name)
        else:
            try:
                found = parse(factor, frame.columns, "formula", clustered=True)
            except ModelError as error:
                raise ModelError(CODE, str(error).removeprefix(f"{error.code}: ")) from None
            out |= {*found.direct, *found.pooled}
    return frozenset(out)


def _quoted(factors: Factors, frame: Frame) -> Factors:
    return tuple(quote(factor) if factor in frame.columns else factor for factor in factors)
