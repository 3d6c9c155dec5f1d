"""Case studies as programs.

Each is a module with a function ``run(out, m, seed)`` that prints a table and writes one
HTML page; ``jaxmice tutorial NAME`` calls it.
"""

TUTORIALS = {
    "popularity": "popularity of 2,000 pupils in 100 schools: what happens to the differences "
    "between schools under six ways to deal with missing scores",
}
"""Name of the module -> what it shows."""

__all__ = ["TUTORIALS"]
