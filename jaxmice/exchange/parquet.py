"""Parquet: a folder with one part per imputation."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jaxmice.combine import from_list
from jaxmice.errors import DataError
from jaxmice.files import CODE, optional, reading, replacing

if TYPE_CHECKING:
    from jaxmice.imputed import ImputedData

KEY = b"jaxmice"
"""Where the description of the imputation stands in the metadata of a file."""

PURPOSE = "parquet"


def load(path: Path) -> pd.DataFrame:
    """Read a parquet file or folder."""
    optional("pyarrow", PURPOSE)
    return pd.read_parquet(path)


def to_parquet(imp: "ImputedData", path: Any) -> None:
    """Write a folder that parquet readers see as one table with a column ``imp``.

    There is a part for every imputation, and part 0 is the original, so that one imputation can be
    read without the others. Method, predictor matrix, cluster and seed stand in
    the metadata of every part.

    Parameters
    ----------
    imp
        The imputations.
    path
        Folder to write; one that this function wrote before is replaced.

    Raises
    ------
    DataError
        E70: pyarrow is not installed, there is a column ``imp``, or there is
        something else at that place.
    """
    pa = optional("pyarrow", PURPOSE)
    pq = optional("pyarrow.parquet", PURPOSE)
    folder = Path(path)
    if "imp" in imp.data:
        raise DataError(CODE, "the data have a column 'imp', as the folder has; rename it")
    if folder.exists() and not (folder / "imp=0").is_dir():
        raise DataError(CODE, f"{str(path)!r} exists and holds something else; choose a new name")
    about = {KEY: json.dumps(_description(imp)).encode()}
    dtypes = imp.complete(1).dtypes
    with replacing(folder) as part:
        try:
            for number in range(imp.m + 1):
                # Completed columns may be wider than the original; all parts share a type.
                table = pa.Table.from_pandas(imp.complete(number).astype(dtypes))
                home = part / f"imp={number}"
                home.mkdir(parents=True)
                metadata = {**(table.schema.metadata or {}), **about}
                pq.write_table(table.replace_schema_metadata(metadata), home / "part-0.parquet")
            if folder.exists():
                shutil.rmtree(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def read_parquet(path: Any, **options: Any) -> "ImputedData":
    """Read imputations from a folder that `to_parquet` wrote.

    Parameters
    ----------
    path
        The folder.
    **options
        Those of `from_list`; the cluster is that of the imputation unless it is given.

    Raises
    ------
    DataError
        E70: not such a folder.
    """
    pq = optional("pyarrow.parquet", PURPOSE)
    with reading(path, "a folder of imputations in parquet") as folder:
        numbers = sorted(int(home.name[4:]) for home in folder.glob("imp=*"))
        files = [folder / f"imp={number}" / "part-0.parquet" for number in numbers]
        if not files:
            raise ValueError("it has no parts imp=0, imp=1, ...")
        about = json.loads((pq.read_schema(files[0]).metadata or {}).get(KEY, b"{}"))
        frames = [pd.read_parquet(file, partitioning=None) for file in files]
    options = {"cluster": about.get("cluster"), **options}
    return from_list(frames[1:], frames[0], **options)


def _description(imp: "ImputedData") -> dict[str, Any]:
    model = imp.model
    clusters = model.frame.clusters
    return {
        "m": imp.m,
        "iteration": imp.iteration,
        "cluster": list(clusters.names) if clusters else None,
        "method": imp.method,
        "predictor_matrix": imp.predictor_matrix.to_dict("index"),
        "seed": imp.info.get("seed"),
        "versions": imp.info.get("versions"),
    }
