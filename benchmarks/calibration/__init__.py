"""Are the samplers calibrated? Every Gibbs sampler is put to two tests.

    python -m benchmarks.calibration [--only NAME ...] [--simulations 1000] [--seed 1] [--twins]

Both draw parameters from a proper prior and data given them, hide part of the data, and
let the sampler draw parameters and hidden values.

Ranks: from its own start, the truth must be equally likely at every rank among its draws
(Talts et al. 2018, arXiv 1804.06788), also for quantities that read the data (Modrak et
al. 2023, Bayesian Analysis). This sees a sampler that does not get where it should.

Exact start: from the truth, a few steps must leave the joint law of parameters and data as
it was (Geweke 2004, Journal of the American Statistical Association 99, 799-804). This
sees a wrong step best: no burn-in, no autocorrelation.

A right sampler fails a test of one quantity with probability `LEVEL`. With ``--twins`` the
mistakes that a case names are made on purpose, one by one, and each must be seen.

To add a sampler, add a file to `benchmarks.calibration.cases`.
"""
