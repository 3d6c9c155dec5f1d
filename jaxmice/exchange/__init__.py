"""Data and imputations in the files of other programs, one module per format."""

from jaxmice.exchange.data import read_data as read_data
from jaxmice.exchange.delimited import (
    read_long_csv as read_long_csv,
    read_mitml_list as read_mitml_list,
    to_csv as to_csv,
)
from jaxmice.exchange.mplus import to_mplus as to_mplus
from jaxmice.exchange.parquet import read_parquet as read_parquet, to_parquet as to_parquet
from jaxmice.exchange.spss import read_spss_mi as read_spss_mi, to_spss as to_spss
from jaxmice.exchange.stata import read_stata_mi as read_stata_mi, to_stata as to_stata
