"""Tests of jaxmice; a package, so that `tests.statistics` never hides the standard library's."""
