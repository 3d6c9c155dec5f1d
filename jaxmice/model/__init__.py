"""Set-up: who is imputed by which method from which predictors."""

from jaxmice.model import role
from jaxmice.model.deductive import impute_deductive
from jaxmice.model.helpers import (
    find_default_method,
    make_blocks,
    make_formulas,
    make_method,
    make_predictor_matrix,
    make_visit_sequence,
    make_where,
)
from jaxmice.model.model import ImputationModel, Term, Visit
from jaxmice.model.quickpred import quickpred
from jaxmice.model.setup import setup
from jaxmice.model.suggest import Suggestion, suggest

__all__ = [
    "ImputationModel",
    "Suggestion",
    "Term",
    "Visit",
    "find_default_method",
    "impute_deductive",
    "make_blocks",
    "make_formulas",
    "make_method",
    "make_predictor_matrix",
    "make_visit_sequence",
    "make_where",
    "quickpred",
    "role",
    "setup",
    "suggest",
]
