"""``python -m jaxmice`` is the command ``jaxmice``."""

import sys

from jaxmice.cli import main

if __name__ == "__main__":
    sys.exit(main())
