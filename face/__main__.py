"""The program, ``vampnet-onnx``: watches for interrupts, and only then loads the commands."""

import os
import sys

from vampnet_onnx.configs.interrupts import (
    EXIT_CODE,
    INTERRUPTED,
    comes_of_interrupt,
    dealt_with,
    watch,
)


def main() -> None:
    """Run the command line; an interrupt while it is loaded ends it as any other does."""
    watch()
    # Threads of PyTorch that spin where they wait for each other hinder whoever works: beside
    # other programs a verification took many times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from vampnet_onnx.program import run  # takes half a second and more

        run()
    except BaseException as error:
        if not comes_of_interrupt(error):
            raise
        dealt_with()
        # As plainly as can be: what prints otherwise may be half loaded.
        if sys.stderr is not None:  # None where it is closed
            sys.stderr.write(f"error: {INTERRUPTED}\n")
    sys.exit(EXIT_CODE)


if __name__ == "__main__":
    main()
