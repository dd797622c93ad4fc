"""An interrupt, or a request to end, as an exception that is not lost on its way out."""

import signal
import sys

EXIT_CODE = 130  # as a shell says of what an interrupt ended
INTERRUPTED = "interrupted; nothing was left half-written"

_AGAIN_S = 0.1


class Interrupted(BaseException):
    """An interrupt or a request to end, so that what cleans up runs on the way out.

    Who keeps what was found until then catches it, says `dealt_with` and returns that.  Not a
    KeyboardInterrupt: libraries turn that into something of their own.
    """


def watch() -> None:
    """Raise `Interrupted` in the main thread at an interrupt or a request to end."""
    for name in ("SIGINT", "SIGTERM", "SIGALRM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    sys.unraisablehook = _report_unraisable


def dealt_with() -> None:
    """Say that an interrupt was caught on purpose, so that it does not come again."""
    _interrupt_in(0)


def _interrupt(_number: int, _frame: object) -> None:
    """Interrupt, and again until it is on its way out.

    Finalisers drop exceptions, and so do libraries that catch everything.
    """
    _interrupt_in(_AGAIN_S)
    if not comes_of_interrupt(sys.exception()):  # what cleans up is left alone
        raise Interrupted


def _interrupt_in(seconds: float) -> None:
    """Set the alarm that interrupts again, or take it back with 0; Windows has none."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def comes_of_interrupt(error: BaseException | None) -> bool:
    """Return whether an exception is an interrupt, or what a library made of one."""
    left, seen = [error], list[BaseException]()
    while left:
        error = left.pop()
        if isinstance(error, Interrupted):
            return True
        if error is not None and error not in seen:
            seen.append(error)
            left += [error.__cause__, error.__context__]
    return False


def _report_unraisable(lost: "sys.UnraisableHookArgs") -> None:
    if lost.exc_type is not Interrupted:  # which comes again
        sys.__unraisablehook__(lost)
