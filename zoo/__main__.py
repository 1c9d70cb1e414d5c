"""The commands `zoo` and `python -m zoo`: an interruption before and after the command itself gets no traceback."""

import signal
import sys


def main() -> None:
    """Run the command line and exit, see `zoo.cli.main`."""
    try:
        from zoo.cli import main as run

        run()
    except KeyboardInterrupt:  # while the modules of the command were imported
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # while Python closes the process


if __name__ == "__main__":
    main()
