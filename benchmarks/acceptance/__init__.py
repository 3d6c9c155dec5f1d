"""Acceptance simulations: whether what imputations lead to is right, within stated limits.

Every study is a module with ``run(replications, seed)``, which returns a page of results;
`python -m benchmarks.acceptance NAME` runs one and writes the page. The replications of a
study are imputed side by side, by `jaxmice.replicate`, and analysed in batches.
"""
