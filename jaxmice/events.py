"""The log of everything the software did to a model on its own."""

from collections.abc import Iterator
from dataclasses import dataclass, field

LEVELS = {
    "constant": "change",
    "constant_filled": "change",
    "collinear": "change",
    "deterministic_pair": "change",
    "perfect_prediction": "change",
    "lindep": "change",
    "df_small": "problem",
    "separation": "problem",
    "sparse_category": "problem",
    "unseen_category": "problem",
    "id_excluded": "change",
    "string_to_category": "change",
    "level_undecided": "info",
    "singleton_clusters": "info",
    "clusters_relabelled": "info",
    "clusters_left_out": "change",
    "mean_of_level2": "change",
    "slope_of_level2": "change",
    "slope_weakly_identified": "change",
    "means_dropped": "change",
    "missing_predictor": "change",
    "circular_removed": "change",
    "formula_overrides_row": "change",
    "deduced": "info",
    "dtype_widened": "info",
    "row_dropped": "change",
    "univariate": "info",
    "nonfinite": "problem",
    "few_clusters": "problem",
    "few_donors": "problem",
    "far_counts": "problem",
    "no_fit": "problem",
    "post_clip": "problem",
    "post_unused": "problem",
    "left_missing": "problem",
    "interrupted": "problem",
    "traces_dropped": "info",
    "index_not_unique": "info",
}
"""Every event and its level: ``info``, ``change`` (of the model) or ``problem``."""


@dataclass(frozen=True)
class Event:
    """One row of the log; the first five fields are those of R's ``loggedEvents``."""

    it: int
    im: int
    dep: str
    meth: str
    out: str
    event: str
    level: str
    message: str


@dataclass(repr=False)
class EventLog:
    """Events in the order in which they happened."""

    events: list[Event] = field(default_factory=list)

    def add(
        self,
        event: str,
        message: str,
        *,
        dep: str = "",
        meth: str = "",
        out: str = "",
        it: int = 0,
        im: int = 0,
    ) -> None:
        """Append one event; its level follows from its name."""
        self.events.append(Event(it, im, dep, meth, out, event, LEVELS[event], message))

    def __repr__(self) -> str:
        lines = [f"{event.level}: {event.message}" for event in self.events]
        return "\n".join([f"{len(lines)} logged events", *lines])

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)
