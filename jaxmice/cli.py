"""The command line.

Arguments are checked before anything heavy is imported, so that help and complaints come
at once.
"""

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from jaxmice.errors import JaxMiceError
from jaxmice.tutorials import TUTORIALS


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
    if arguments.command is None:
        parser.print_help()
        return 0
    tutorial = importlib.import_module(f"jaxmice.tutorials.{arguments.name}")
    try:
        tutorial.run(arguments.out, arguments.m, arguments.seed)
    except (JaxMiceError, OSError) as error:
        print(f"jaxmice: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("jaxmice: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxmice",
        description="Multiple imputation of clustered data by chained equations, on JAX.",
        epilog="In Python: import jaxmice as jm; help(jm.mice)",
    )
    parser.add_argument("--version", action="version", version=f"jaxmice {version('jaxmice')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    about = "run a case study and write it up as an HTML page"
    names = "\n".join(f"  {name:12} {text}" for name, text in TUTORIALS.items())
    tutorial = commands.add_parser(
        "tutorial",
        help=about,
        description=f"{about.capitalize()}.",
        epilog=f"tutorials:\n{names}\n\nexample: jaxmice tutorial popularity --out out",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tutorial.add_argument("name", metavar="NAME", type=_tutorial, help="which one, see below")
    tutorial.add_argument(
        "--out",
        type=_folder,
        default=Path("."),
        metavar="DIR",
        help="folder for the page, made if need be (default: this folder)",
    )
    tutorial.add_argument(
        "--m",
        type=_at_least(2),
        default=20,
        metavar="N",
        help="number of imputations (default: %(default)s)",
    )
    tutorial.add_argument(
        "--seed",
        type=_at_least(0),
        default=1,
        metavar="N",
        help="the same seed gives the same numbers (default: %(default)s)",
    )
    return parser


def _tutorial(name: str) -> str:
    if name in TUTORIALS:
        return name
    near = difflib.get_close_matches(name, TUTORIALS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(TUTORIALS)}"
    raise argparse.ArgumentTypeError(f"there is no tutorial {name!r}; {hint}")


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
