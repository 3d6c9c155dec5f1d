"""Make the pictures of the README: `python .github/pictures.py` in the folder above."""

import re
import tempfile
from pathlib import Path
from typing import Any

import jaxmice as jm
from jaxmice.tutorials.popularity import COMPLETE_ICC, compare

here = Path(__file__).parent
code = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL)
workflow: dict[str, Any] = {}
with tempfile.TemporaryDirectory() as folder:
    exec(re.sub(r'"(\S+\.(?:html|jaxmice|csv))"', rf'"{folder}/\1"', code[0]), workflow)

holes = jm.plots.plot_cluster_miss(workflow["data"], "school")
trace = jm.plots.plot_trace(workflow["imp"])
shares = jm.plots.plot_icc(
    compare().imputations, "popular", cluster="school", reference=COMPLETE_ICC
)
for name, drawn in {"holes": holes, "trace": trace, "popularity": shares}.items():
    figure = getattr(drawn, "figure", None) or drawn.flat[0].figure
    figure.savefig(here / f"{name}.png", dpi=100, bbox_inches="tight")
