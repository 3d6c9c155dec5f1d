"""The result of a run: completed data, traces, events, and the means to go on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from jaxmice.errors import DataError, RunError
from jaxmice.events import EventLog
from jaxmice.frame import complete, decode
from jaxmice.model import ImputationModel
from jaxmice.wording import is_whole, warn_user

if TYPE_CHECKING:
    from jaxmice.analysis.analyses import Analyses
    from jaxmice.analysis.run import Model
    from jaxmice.diagnostics.overimpute import Overimputed
    from jaxmice.diagnostics.ppc import Statistic
    from jaxmice.pooling import MixedDraws

LEVELS_THAT_WARN = ("change", "problem")


class ImputedData:
    """A data set with m sets of imputations (``mids`` in R).

    Only imputed cells are stored. Imputations are numbered from 1; number 0 is the
    incomplete original.

    Attributes
    ----------
    data
        The original frame.
    model
        The imputation model, see `setup`.
    m, iteration
        Number of imputations and of iterations done.
    variables
        Names of the imputed columns: axis 0 of the traces.
    chain_mean, chain_var
        (variable, iteration, m) mean and variance of the imputed cells, in the units of
        the data; categories count 1..K.
    chain_icc
        (variable, iteration, m) intraclass correlation of the completed column (one-way
        analysis of variance); NaN without clusters.
    chain_between, chain_within
        (variable, iteration, m) its variance between and within clusters.
    info
        Versions, seed, random-number generator, precision, device and seconds.
    """

    def __init__(
        self,
        *,
        data: pd.DataFrame,
        model: ImputationModel,
        cells: dict[str, tuple[np.ndarray, Any]],
        traces: dict[str, np.ndarray],
        m: int,
        iteration: int,
        info: dict[str, Any],
        events: EventLog,
        run: tuple[Any, int] | None = None,
    ) -> None:
        self.data, self.model, self.info = data, model, info
        self.m, self.iteration = m, iteration
        self.variables = list(cells)
        self.events = events
        # Rows (k,) and values by column: coded (k, m), or decoded, m series of length k.
        self._cells = cells
        # The run, and which of its data sets this is; None if it cannot go on.
        self._run = run
        self.chain_mean, self.chain_var = traces["mean"], traces["variance"]
        self.chain_between, self.chain_within = traces["between"], traces["within"]
        with np.errstate(invalid="ignore", divide="ignore"):
            self.chain_icc = self.chain_between / (self.chain_between + self.chain_within)

    @cached_property
    def imp(self) -> dict[str, pd.DataFrame]:
        """Imputed values: for every column a frame (cells, m), rows by original label."""
        out = {}
        for name, (rows, values) in self._cells.items():
            parts = self._decoded(name, values) if isinstance(values, np.ndarray) else values
            labels = self.data.index[rows]
            labels = pd.Index(rows) if not self.data.index.is_unique else labels
            columns = {
                i: pd.Series(part.array, index=labels, dtype=part.dtype)
                for i, part in enumerate(parts, 1)
            }
            out[name] = pd.DataFrame(columns, index=labels)
        return out

    def _decoded(self, name: str, values: np.ndarray) -> list[pd.Series]:
        """Return coded values (k, m) as m series of one dtype."""
        # All at once: whole numbers widen in every data set or in none.
        series = decode(
            self.model.frame.columns[name],
            values.ravel(order="F"),
            events=self.events,
            method=self.method.get(name, ""),
        )
        n = len(values)
        return [series.iloc[i * n : (i + 1) * n] for i in range(self.m)]

    @property
    def method(self) -> dict[str, str]:
        """Method of every block."""
        return self.model.method

    @property
    def predictor_matrix(self) -> pd.DataFrame:
        """Predictor codes, rows blocks, columns data columns."""
        return self.model.predictor_matrix

    @property
    def visit_sequence(self) -> tuple[str, ...]:
        """Blocks in the order of their visits."""
        return self.model.visit_sequence

    @cached_property
    def where(self) -> pd.DataFrame:
        """True for every imputed cell."""
        own = [name in self.data.columns for name in self.model.frame.columns]
        return pd.DataFrame(
            self.model.where[:, own], index=self.data.index, columns=self.data.columns
        )

    @property
    def nmis(self) -> pd.Series:
        """Number of missing values of every column of the original."""
        return self.data.isna().sum()

    @property
    def logged_events(self) -> pd.DataFrame:
        """What the software did on its own, one row each."""
        names = ["it", "im", "dep", "meth", "out", "event", "level", "message"]
        rows = [[getattr(event, name) for name in names] for event in self.events]
        return pd.DataFrame(rows, columns=names)

    def complete(
        self,
        action: Any = 1,
        include: bool = False,
        order: str = "last",
        *,
        imp_column: str = ".imp",
        id_column: str = ".id",
        lazy: bool = False,
    ) -> Any:
        """Return completed data.

        Parameters
        ----------
        action
            A number (0: the original), a list of numbers (stacked), ``"all"`` (a dict),
            ``"long"`` (stacked, with number and row label), ``"stacked"`` (without),
            ``"broad"`` (side by side) or ``"repeated"`` (side by side, by variable).
        include
            Add the original as number 0.
        order
            Where number and label go in a long frame: ``"last"`` or ``"first"``.
        imp_column, id_column
            Names of number and label in a long frame.
        lazy
            Return an iterator, for ``"all"`` and ``"long"``.

        Returns
        -------
        Frames with the rows, columns, dtypes and categories of the original.

        Raises
        ------
        DataError
            E54: an unknown action, or a number that does not exist.
        """
        return complete(
            self._base, self.m, self._filled, action, include, order, imp_column, id_column, lazy
        )

    @cached_property
    def _base(self) -> pd.DataFrame:
        """The original with what follows from other rows or is constant filled in."""
        data = self.model.frame.data
        return data if data.shape == self.data.shape else data[list(self.data.columns)]

    def _filled(self, number: int) -> dict[str, tuple[np.ndarray, pd.Series]]:
        return {
            name: (rows, self.imp[name][number].reset_index(drop=True))
            for name, (rows, _) in self._cells.items()
        }

    def __len__(self) -> int:
        return self.m

    def __getitem__(self, number: int) -> pd.DataFrame:
        return self.complete(number)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return (self.complete(number) for number in range(1, self.m + 1))

    def continue_run(self, maxit: int = 5, *, progress: Any = False) -> "ImputedData":
        """Return the result of further iterations of the same chains.

        The same as one run of all iterations. The model cannot be changed.

        Parameters
        ----------
        maxit
            Iterations to add.
        progress
            As for `mice`.
        """
        if not is_whole(maxit):
            raise DataError("E10", f"maxit must be 0 or more, got {maxit!r}")
        return self._extended(int(maxit), 0, progress)

    def add_imputations(self, m: int, *, progress: Any = False) -> "ImputedData":
        """Return the imputations together with m further ones.

        They are those that a run with more imputations would have given at once.

        Parameters
        ----------
        m
            Imputations to add.
        progress
            As for `mice`.
        """
        if not is_whole(m, 1):
            raise DataError("E09", f"m must be a positive integer, got {m!r}")
        return self._extended(0, int(m), progress)

    def _extended(self, more: int, further: int, progress: Any) -> "ImputedData":
        if self._run is None:
            message = "these imputations were combined, changed or read from another program; "
            raise RunError("E71", message + "only the result of a run can be continued")
        run, number = self._run
        return run.extend(more, further, progress).results()[number]

    def impute_new(self, newdata: pd.DataFrame, maxit: int = 1) -> "ImputedData":
        """Impute rows that had no part in the estimation.

        In every chain the parameters are drawn given the completed old rows, on which the new
        ones have no influence. A new row of a known cluster is imputed with that cluster's
        effects; a new cluster's effects are drawn from the population.

        Parameters
        ----------
        newdata
            Frame with the columns of `data`; a column that was complete there gets its
            default method.
        maxit
            Iterations; several incomplete columns want a few.

        Returns
        -------
        ImputedData
            The new rows, m times.

        Raises
        ------
        DataError
            E35: columns, kinds or categories differ. E14: a column that is constant in
            clusters differs from the old rows of a cluster.
        RunError
            E71: these imputations are not the result of a run.

        Examples
        --------
        >>> import jaxmice as jm
        >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
        >>> old, new = d[d["school"] <= 80], d[d["school"] > 80]
        >>> imp = jm.mice(old, m=2, cluster="school", method="2l.pan", seed=1)
        >>> len(imp.impute_new(new).complete(1)) == len(new)
        True
        """
        return _outer("newdata").impute_new(self, newdata, maxit)

    def filter(self, rows: Any) -> "ImputedData":
        """Return some of the rows.

        Parameters
        ----------
        rows
            Booleans (n,), or a condition in columns such as ``"age > 50"``. It is about the
            original data, where a condition on a missing value does not hold.

        Raises
        ------
        DataError
            E54: neither of these.
        """
        return _outer("combine").filter_rows(self, rows)

    def select(self, numbers: Any) -> "ImputedData":
        """Return some of the imputations, numbered anew from 1.

        Parameters
        ----------
        numbers
            Numbers from 1 to m: a list, a range, or one.

        Raises
        ------
        DataError
            E54: a number that does not exist.
        """
        return _outer("combine").select(self, numbers)

    def assign(self, **columns: Any) -> "ImputedData":
        """Return the result with columns computed in every completed data set.

        Parameters
        ----------
        **columns
            By name a function of a completed data set, or a value; as for
            `pandas.DataFrame.assign`.

        Examples
        --------
        >>> import jaxmice as jm
        >>> d = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
        >>> imp = jm.mice(d, m=2, cluster="school", method="2l.pan", seed=1)
        >>> more = imp.assign(high=lambda frame: frame["popular"] > 6)
        >>> bool(more.complete(1)["high"].equals(imp.complete(1)["popular"] > 6))
        True
        """
        return _outer("combine").assign(self, columns)

    def save(self, path: Any) -> None:
        """Write everything to a file for `jaxmice.load`; see `jaxmice.storage.save`."""
        _outer("storage").save(self, path)

    def to_csv(self, path: Any, action: str = "long") -> None:
        """Write a text file for R's ``as.mids``; see `jaxmice.exchange.to_csv`."""
        _outer("exchange").to_csv(self, path, action)

    def to_parquet(self, path: Any) -> None:
        """Write a folder of parquet files; see `jaxmice.exchange.to_parquet`."""
        _outer("exchange").to_parquet(self, path)

    def to_stata(self, path: Any) -> None:
        """Write a file for Stata's ``mi``; see `jaxmice.exchange.to_stata`."""
        _outer("exchange").to_stata(self, path)

    def to_spss(self, path: Any) -> None:
        """Write a file for SPSS; see `jaxmice.exchange.to_spss`."""
        _outer("exchange").to_spss(self, path)

    def to_mplus(self, folder: Any) -> None:
        """Write the files that Mplus reads; see `jaxmice.exchange.to_mplus`."""
        _outer("exchange").to_mplus(self, folder)

    def analyze(
        self,
        model: "Model",
        *,
        engine: str | None = None,
        reml: bool = True,
        quadrature: int = 1,
        terms: str = "equal",
        on_error: str = "raise",
        keep: str = "estimates",
    ) -> "Analyses":
        """Fit an analysis model to every completed data set; see `jaxmice.analyze`."""
        return _outer("analysis").analyze(
            self,
            model,
            engine=engine,
            reml=reml,
            quadrature=quadrature,
            terms=terms,
            on_error=on_error,
            keep=keep,
        )

    def analyze_numpyro(
        self,
        model: Callable[..., Any],
        data_fn: Callable[[Any], Mapping[str, Any]],
        *,
        num_samples: int = 1000,
        num_warmup: int = 1000,
        num_chains: int = 2,
        seed: int = 0,
    ) -> "MixedDraws":
        """Draw from the posteriors of a numpyro model given each completed data set.

        See `jaxmice.analysis.analyze_numpyro`.
        """
        return _outer("analysis").analyze_numpyro(
            self,
            model,
            data_fn,
            num_samples=num_samples,
            num_warmup=num_warmup,
            num_chains=num_chains,
            seed=seed,
        )

    def convergence(
        self,
        diagnostic: Literal["all", "ac", "psrf", "full"] = "all",
        parameter: str | Sequence[str] = "mean",
        *,
        ac: Literal["across", "within"] = "across",
        cumulative: bool = True,
    ) -> pd.DataFrame:
        """R-hat and autocorrelation by iteration; see `jaxmice.diagnostics.convergence`."""
        room = _outer("diagnostics")
        return room.convergence(self, diagnostic, parameter, ac=ac, cumulative=cumulative)

    def converged(self, rhat: float = 1.05, ac: float = 0.2) -> pd.DataFrame:
        """Judge the traces of every variable; see `jaxmice.diagnostics.converged`."""
        return _outer("diagnostics").converged(self, rhat, ac)

    def run_until(
        self, rhat: float = 1.05, max_iter: int = 100, step: int = 5, *, progress: Any = False
    ) -> "ImputedData":
        """Continue until R-hat is small enough; see `jaxmice.diagnostics.run_until`."""
        return _outer("diagnostics").run_until(self, rhat, max_iter, step, progress=progress)

    def compare(self, columns: Any = None, by: Any = None) -> pd.DataFrame:
        """Set imputed beside observed values; see `jaxmice.diagnostics.compare`."""
        return _outer("diagnostics").compare(self, columns, by)

    def ppc(
        self,
        statistic: "Statistic | Mapping[str, Statistic]",
        columns: Sequence[str] | str | None = None,
        n_rep: int = 100,
        *,
        by_cluster: bool = False,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Replicate observed cells and compare statistics; see `jaxmice.diagnostics.ppc`."""
        room = _outer("diagnostics")
        return room.ppc(self, statistic, columns, n_rep, by_cluster=by_cluster, seed=seed)

    def overimpute(
        self,
        columns: Sequence[str] | str | None = None,
        cells: Any = None,
        n: int = 100,
        alpha: float = 0.1,
        *,
        folds: int = 10,
        seed: int | None = None,
    ) -> "Overimputed":
        """Hold observed cells out and draw them; see `jaxmice.diagnostics.overimpute`."""
        room = _outer("diagnostics")
        return room.overimpute(self, columns, cells, n, alpha, folds=folds, seed=seed)

    def to_inference_data(self) -> Any:
        """Return the traces for ArviZ; see `jaxmice.diagnostics.to_inference_data`."""
        return _outer("diagnostics").to_inference_data(self)

    def report(self, path: Any, pooled: Any = None, title: str = "Imputation") -> None:
        """Write a page of HTML that shows the model, the holes, and what was imputed.

        One file, readable without a network, on a phone and by screen readers.

        Parameters
        ----------
        path
            The file, such as ``"report.html"``.
        pooled
            Pooled results or analyses to show as well.
        title
            Title of the page.

        Raises
        ------
        DataError
            E70, when the file cannot be written.
        """
        _outer("report").report(self, path, pooled, title)

    def warn(self) -> None:
        """Warn once if the model was changed or something went wrong on the way."""
        counts: dict[str, int] = {}
        for event in self.events:
            if event.level in LEVELS_THAT_WARN:
                counts[event.event] = counts.get(event.event, 0) + 1
        if counts:
            listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            message = f"W00: logged events: {listed}; see logged_events"
            warn_user(message)

    def __repr__(self) -> str:
        lines = [
            f"ImputedData: {len(self.data)} rows, m = {self.m}, iterations = {self.iteration}",
        ]
        for name, (rows, _) in self._cells.items():
            blocks = [b for b, columns in self.model.blocks.items() if name in columns]
            method = next((self.method[b] for b in blocks if self.method.get(b)), "")
            method = self.model.passive.get(name, method)
            lines.append(f"  {name}: {len(rows)} cells by {method}")
        if len(self.events):
            lines.append(f"  {len(self.events)} logged events")
        return "\n".join(lines)


def _outer(room: str) -> Any:
    """Import a room that builds on this one, when a method that leads there is called."""
    return import_module(f"jaxmice.{room}")
