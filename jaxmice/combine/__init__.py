"""Combining results, changing them, and making them of completed data from elsewhere."""

from jaxmice.combine.bind import cbind as cbind, ibind as ibind, rbind as rbind
from jaxmice.combine.change import assign as assign, filter_rows as filter_rows, select as select
from jaxmice.combine.completed import as_imputed as as_imputed, from_list as from_list
