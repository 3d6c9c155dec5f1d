"""The run: clusters in memory, designs, random streams, the chained-equations loop.

The engine sees arrays only. Its compiled unit is a visit: one target, in all chains of
all data sets at once (`jaxmice.engine.visit`); above it is a plain Python loop.
"""

from jaxmice.engine.factors import plan_factors as plan_factors
from jaxmice.engine.passive import Between as Between, Names as Names, Values as Values
from jaxmice.engine.precision import precision_scope as precision_scope
from jaxmice.engine.problem import (
    ChainSlots as ChainSlots,
    Data as Data,
    Problem as Problem,
    SharedSlots as SharedSlots,
    SlopeSlots as SlopeSlots,
    Spec as Spec,
    Step as Step,
)
from jaxmice.engine.run import Session as Session
from jaxmice.linalg.layout import Blocks as Blocks, plan_blocks as plan_blocks
