"""torchrun on a node, which ends with the actor that started it, and as the process of the team that failed first.

python -m zoo_ray.torchrun OPTIONS OF TORCHRUN
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from zoo.stopping import PARENT_VARIABLE, STOPPED

_SECONDS = 1.0
"""Interval at which the parent process is looked at."""


def main(words: Sequence[str]) -> None:
    """Run torchrun.

    Args:
        words: Its options, and the command.

    Raises:
        SystemExit: With the exit code of the process that failed first, which torchrun itself replaces by 1, or with
            that of a cell that was stopped.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    threading.Thread(target=_end_with, args=(int(os.environ[PARENT_VARIABLE]),), daemon=True).start()
    os.environ[PARENT_VARIABLE] = str(os.getpid())  # for the processes that it starts
    try:
        run.main(list(words))
    except SignalException:
        raise SystemExit(STOPPED) from None
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        if code < 0:  # killed by a signal: so are we
            with contextlib.suppress(OSError):  # SIGKILL has no handler
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        raise SystemExit(code) from None


def _end_with(parent: int) -> None:
    """Have torchrun end its processes when the parent process has ended."""
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
