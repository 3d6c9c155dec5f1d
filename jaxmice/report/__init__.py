"""A report on an imputation, as one page of HTML."""

from jaxmice.report.report import report as report
