"""Gibbs kernels, one statistical model per file: sums in, parameters out.

A kernel knows a model, its prior and the sums of its data, and nothing of imputation.
"""
