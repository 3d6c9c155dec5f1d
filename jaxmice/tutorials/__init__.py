"""Case studies as programs.

Each is a module with a function ``run(out, m, seed)`` that prints a table and writes one
HTML page; ``jaxmice tutorial NAME`` calls it. Those that name columns take ``data`` as well:
the path of a file of the user's with these columns.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tutorial:
    """What is known of a case study before it is imported.

    Attributes
    ----------
    about
        What it shows.
    columns
        Columns that a file of the user's must have; empty if it runs on its own data only.
    """

    about: str
    columns: tuple[str, ...] = ()


TUTORIALS = {
    "popularity": Tutorial(
        "popularity of 2,000 pupils in 100 schools: what happens to the differences "
        "between schools under six ways to deal with missing scores"
    ),
    "hiv": Tutorial(
        "HIV status of 6,416 people in 9 regions, hidden more often from the infected: "
        "imputation at random and a selection model, and shifts between them",
        ("hiv", "age", "region", "marital", "condom", "smoke"),
    ),
    "obesity": Tutorial(
        "body mass index of 2,111 people in 5 clusters, weight hidden more often by the heavier "
        "and one cluster never asked: passive imputation, at random and by a selection model",
        ("Cluster", "Time", "Gender", "Height", "FamOb", "Age", "Weight", "BMI"),
    ),
    "impact": Tutorial(
        "death after brain injury in 15 studies, some of which never recorded a column: a "
        "suggested imputation, and a mixed logistic model of the imputed data",
        (
            "name",
            "type",
            "age",
            "motor_score",
            "pupil",
            "ct",
            "hypox",
            "hypots",
            "tsah",
            "edh",
            "mort",
        ),
    ),
}
"""Name of the module -> what it is about."""

__all__ = ["TUTORIALS", "Tutorial"]
