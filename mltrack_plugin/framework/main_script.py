"""What worker processes need of the main program: that they can import it without running it."""

from __future__ import annotations

import multiprocessing
import os
import sys

from mltrack_plugin.errors import ConfigurationError

#: Name of worker processes, by which they know themselves while they import the main script.
WORKER_NAME = "mltrack-worker"
#: Exit code of a worker that would have run the main script (sysexits.h: EX_CONFIG).
NO_GUARD = 78


def leave_if_imported() -> None:
    """Called where a job starts: a process that is just importing the main script must not run its job.

    Raises:
        SystemExit: in a worker of this package; the main process then raises :func:`no_guard_error`.
        ConfigurationError: in a process of another pool.
    """
    process = multiprocessing.current_process()
    # As in multiprocessing.spawn, which refuses to start processes in this state.
    if not getattr(process, "_inheriting", False):
        return
    if process.name.startswith(WORKER_NAME):
        raise SystemExit(NO_GUARD)
    raise no_guard_error()


def no_guard_error() -> ConfigurationError:
    """That the main script starts its job without a guard, with the lines to write."""
    script = getattr(sys.modules["__main__"], "__file__", None) or "the main script"
    return ConfigurationError(
        f"{script}: worker processes import this script, and would start the job again, because nothing guards it. "
        "Put what starts the job under a guard:\n\n"
        '    if __name__ == "__main__":\n'
        "        print(sequencer.run())\n\n"
        "Everything else may stay as it is; or use workers=1"
    )


def check_importable(kinds: list[type]) -> None:
    """Refuse classes and main programs that worker processes cannot import.

    Args:
        kinds: classes of readers and algorithms.

    Raises:
        ConfigurationError: naming the class or the program, and what to do.
    """
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is not None and not os.path.exists(path):
        raise ConfigurationError(
            f"worker processes import the main program, and {path!r} is no file (was it read from standard input?): "
            "save it as a script, or use workers=1"
        )
    here = [kind.__name__ for kind in kinds if kind.__module__ == "__main__"]
    if path is None and here:
        raise ConfigurationError(
            f"worker processes cannot import {', '.join(here)}, defined in a notebook or at the prompt: move it to a "
            "module (a .py file) and import it, or use workers=1"
        )
