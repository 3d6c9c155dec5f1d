"""Sums by cluster, and stacks of small matrices with the batch axis last."""

from jaxmice.linalg.clusters import (
    Layout as Layout,
    cluster_products as cluster_products,
    cluster_sums as cluster_sums,
    counting_rows as counting_rows,
    to_blocks as to_blocks,
    to_rows as to_rows,
    total_products as total_products,
)
from jaxmice.linalg.factors import (
    Factor as Factor,
    Link as Link,
    group_sums as group_sums,
    to_group_rows as to_group_rows,
)
from jaxmice.linalg.library import eigh as eigh, least_squares as least_squares
from jaxmice.linalg.rows import draw_normal as draw_normal, solve_half as solve_half
from jaxmice.linalg.small import (
    UNROLLED as UNROLLED,
    cholesky as cholesky,
    contract as contract,
    eliminate as eliminate,
    solve_lower as solve_lower,
    solve_lower_pseudo as solve_lower_pseudo,
    solve_lower_transposed as solve_lower_transposed,
)
