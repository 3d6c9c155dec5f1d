"""The command line.

Arguments are checked before anything heavy is imported, so that help and complaints come
at once.
"""

import argparse
import ast
import importlib
import sys
import textwrap
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxmice.errors import JaxMiceError, ModelError
from jaxmice.tutorials import TUTORIALS
from jaxmice.wording import near

PATTERNS = 20
"""Patterns of missing cells that are printed."""

ENDINGS = {"csv": "csv", "parquet": "parquet", "stata": "dta", "spss": "sav"}
"""Format of the imputations -> ending of the file."""

ENGINES = ("lmm", "glmm:binomial", "glmm:poisson", "ols", "glm:binomial", "glm:poisson")
"""What fits the analysis model; here as well, as `jaxmice.analysis` is slow to import."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the name of the program; by default those of the process.

    Returns
    -------
    int
        Exit status: 0 done, 1 failed, 130 interrupted. Arguments that cannot be used end
        the process with status 2.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "tutorial" and arguments.data and not TUTORIALS[arguments.name].columns:
        parser.error(f"tutorial {arguments.name} runs on its own data only; leave out --data")
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            COMMANDS[arguments.command](arguments)
    except (JaxMiceError, OSError) as error:
        print(f"jaxmice: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("jaxmice: interrupted", file=sys.stderr)
        return 130
    return 0


def _run_tutorial(arguments: argparse.Namespace) -> None:
    tutorial = importlib.import_module(f"jaxmice.tutorials.{arguments.name}")
    own = {} if arguments.data is None else {"data": arguments.data}
    tutorial.run(arguments.out, arguments.m, arguments.seed, **own)


def _run_inspect(arguments: argparse.Namespace) -> None:
    from jaxmice.exchange import read_data
    from jaxmice.missingness import cluster_missing, icc, md_pattern
    from jaxmice.model import find_default_method

    data = read_data(arguments.file)
    missing = data.isna().sum()
    counted = missing.rename("missing").to_frame().assign(share=missing / len(data))
    tables = {"By column:": counted}
    # The columns by which rows are grouped, one after the other.
    for cluster in arguments.cluster or []:
        tables[f"Methods, clusters {cluster}:"] = find_default_method(data, cluster, explain=True)
        tables[f"By {cluster}:"] = cluster_missing(data, cluster).summary
        tables[f"Clustering of observed values by {cluster}:"] = icc(data, cluster)
    print(f"{len(data)} rows, {data.shape[1]} columns, {int(missing.sum())} missing cells")
    for title, table in tables.items():
        if len(table):
            print(f"\n{title}\n{table.round(3).to_string()}")
    if missing.any():
        _print_patterns(md_pattern(data))


def _print_patterns(table: Any) -> None:
    """Print the first patterns and the totals, which are the last row."""
    import pandas as pd

    left_out = len(table) - 1 - PATTERNS
    shown = pd.concat([table.iloc[:PATTERNS], table.iloc[-1:]]) if left_out > 0 else table
    print(f"\nPatterns (1 observed, 0 missing):\n{shown.to_string()}")
    if left_out > 0:
        print(f"{left_out} further patterns are not shown")


def _run_impute(arguments: argparse.Namespace) -> None:
    from jaxmice.analysis.run import check_formula
    from jaxmice.exchange import read_data
    from jaxmice.mice import mice

    data = read_data(arguments.file)
    if arguments.formula:
        check_formula(arguments.formula, arguments.engine, list(data.columns))
    model, plan = _set_up(data, arguments)
    print(plan, file=sys.stdout if arguments.dry_run else sys.stderr)
    if arguments.dry_run:
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    imp = mice(
        model=model,
        m=arguments.m,
        maxit=arguments.maxit,
        seed=arguments.seed,
        progress=lambda iteration, block: print(
            f"iteration {iteration}: {block}", file=sys.stderr, flush=True
        ),
    )
    written = arguments.out / f"imputations.{ENDINGS[arguments.format]}"
    getattr(imp, f"to_{arguments.format}")(written)
    print(written)
    # Imputations are safe by now, and are reported on whatever becomes of the analysis.
    pooled = None
    try:
        if arguments.formula:
            fits = imp.analyze(arguments.formula, engine=arguments.engine)
            pooled = fits.pool(dfcom=arguments.dfcom)
            table = arguments.out / "pooled.csv"
            pooled.summary(type="all").to_csv(table, index=False)
            print(table)
            if len(pooled.extra):
                table = arguments.out / "components.csv"
                pooled.extra.to_csv(table, index=False)
                print(table)
    finally:
        page = arguments.out / "report.html"
        imp.report(page, pooled, f"Imputation of {arguments.file.name}")
        print(page)


def _set_up(data: Any, arguments: argparse.Namespace) -> tuple[Any, str]:
    """Return the imputation model, for the analysis if there is one, and how to show it."""
    from jaxmice.model import setup, suggest

    method, options = dict(arguments.method), dict[str, dict[str, Any]]()
    for column, name, value in arguments.option:
        options.setdefault(column, {})[name] = value
    cluster = arguments.cluster
    if arguments.formula and not cluster:
        from jaxmice.analysis.formula import parse_formula

        grouping = parse_formula(arguments.formula).cluster
        cluster = [grouping] if grouping else None
    if not (arguments.formula and cluster):
        if arguments.mnar:
            raise ModelError("E18", "--mnar needs --formula, and clusters in it or by --cluster")
        model = setup(data, method or None, cluster=cluster, options=options)
        return model, str(model)
    mnar: dict[str, dict[str, list[str]]] = {}
    for column, predictor in arguments.mnar:
        mnar.setdefault(column, {"selection": []})["selection"].append(predictor)
    suggestion = suggest(data, cluster, arguments.formula, mnar=mnar or None)
    if not (method or options):
        return suggestion.model, str(suggestion)
    given = suggestion.model.arguments
    given = given | {"method": (given["method"] or {}) | method, "options": options}
    model = setup(data, **given)
    return model, f"{suggestion}\n\n{model}"


COMMANDS = {"impute": _run_impute, "inspect": _run_inspect, "tutorial": _run_tutorial}


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"jaxmice: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmice",
        description="Multiple imputation of clustered data by chained equations, on JAX.",
        epilog="In Python: import jaxmice as jm; help(jm.mice)",
    )
    parser.add_argument("--version", action="version", version=f"jaxmice {version('jaxmice')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_impute(commands)
    _add_inspect(commands)
    _add_tutorial(commands)
    return parser


def _add_impute(commands: Any) -> None:
    about = "impute a file, and write imputations and a report"
    impute = commands.add_parser(
        "impute",
        help=about,
        description=f"{about.capitalize()}.",
        epilog="example: jaxmice impute data.csv --cluster school "
        "--formula 'y ~ x + (1 | school)' --m 20 --out out",
    )
    _add_data(impute)
    impute.add_argument(
        "--formula",
        metavar="TEXT",
        help="analysis model: its results are pooled, and with clusters, named by --cluster or "
        "right of a bar, the imputation is set up for it",
    )
    impute.add_argument(
        "--engine",
        choices=ENGINES,
        help="what fits the analysis model (default: lmm, or ols without a random part)",
    )
    impute.add_argument(
        "--dfcom",
        choices=("residual", "between_within", "inf"),
        help="degrees of freedom that complete data would have (default: residual)",
    )
    impute.add_argument(
        "--method",
        metavar="COLUMN=METHOD",
        type=_pair("METHOD"),
        action="append",
        default=[],
        help="impute a column by another method; repeat it for several columns",
    )
    impute.add_argument(
        "--mnar",
        metavar="COLUMN=PREDICTOR",
        type=_pair("PREDICTOR"),
        action="append",
        default=[],
        help="column missing not at random, and what predicts that it is observed but not its "
        "value: a selection model; needs --formula; repeat it for several",
    )
    impute.add_argument(
        "--dry-run", action="store_true", help="show the imputation model, and impute nothing"
    )
    impute.add_argument(
        "--option",
        metavar="COLUMN.NAME=VALUE",
        type=_option,
        action="append",
        default=[],
        help="option of the method of a column, such as bmi.donors=10; repeat it for several",
    )
    impute.add_argument(
        "--format", choices=tuple(ENDINGS), default="csv", help="of the imputations, stacked"
    )
    impute.add_argument(
        "--maxit",
        type=_at_least(0),
        metavar="N",
        help="iterations (default: 10, or 1 for a column)",
    )
    _add_common(impute, 1)


def _add_inspect(commands: Any) -> None:
    about = "show what is missing in a file, by cluster if there are any"
    inspect = commands.add_parser("inspect", help=about, description=f"{about.capitalize()}.")
    _add_data(inspect)


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file", metavar="FILE", type=Path, help="data: .csv, .parquet, .dta (Stata) or .sav (SPSS)"
    )
    command.add_argument(
        "--cluster",
        metavar="COLUMN",
        action="append",
        help="column with the cluster ids; repeat it for several, the innermost first",
    )


def _add_tutorial(commands: Any) -> None:
    about = "run a case study and write it up as an HTML page"
    names = "\n".join(_listed(name) for name in TUTORIALS)
    tutorial = commands.add_parser(
        "tutorial",
        help=about,
        description=f"{about.capitalize()}.",
        epilog=f"tutorials:\n{names}\n\nexample: jaxmice tutorial popularity --out out",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tutorial.add_argument("name", metavar="NAME", type=_tutorial, help="which one, see below")
    tutorial.add_argument(
        "--data",
        metavar="FILE",
        type=Path,
        help="run it on your own file, which needs the columns named below",
    )
    _add_common(tutorial, 2)


def _add_common(command: argparse.ArgumentParser, least: int) -> None:
    command.add_argument(
        "--out",
        type=_folder,
        default=Path("."),
        metavar="DIR",
        help="folder to write to, made if need be (default: this folder)",
    )
    command.add_argument(
        "--m",
        type=_at_least(least),
        default=20,
        metavar="N",
        help="number of imputations (default: %(default)s)",
    )
    command.add_argument(
        "--seed",
        type=_at_least(0),
        default=1,
        metavar="N",
        help="the same seed gives the same numbers (default: %(default)s)",
    )


def _tutorial(name: str) -> str:
    if name in TUTORIALS:
        return name
    raise argparse.ArgumentTypeError(f"there is no tutorial {name!r}; {near(name, TUTORIALS)}")


def _listed(name: str) -> str:
    """Return the lines of help on a tutorial."""
    known = TUTORIALS[name]
    columns = f"--data FILE with {', '.join(known.columns)}" if known.columns else ""
    lines = [*textwrap.wrap(known.about, 76), *textwrap.wrap(columns, 76)]
    return "\n".join(f"  {'' if i else name:12} {line}" for i, line in enumerate(lines))


class _pair:
    """A column and what is said of it."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, text: str) -> tuple[str, str]:
        """Return both sides of the equals sign."""
        column, equals, value = text.rpartition("=")
        if not (column and equals and value):
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form COLUMN={self.what}")
        return column, value


def _option(text: str) -> tuple[str, str, Any]:
    left, _, value = text.partition("=")
    column, _, name = left.rpartition(".")
    if not (column and name and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form COLUMN.NAME=VALUE")
    try:
        return column, name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return column, name, value


def _folder(text: str) -> Path:
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a file; name a folder")
    return path


class _at_least:
    """A whole number that is not below `low`."""

    def __init__(self, low: int) -> None:
        self.low = low

    def __call__(self, text: str) -> int:
        if text.isdecimal() and int(text) >= self.low:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {self.low}")
