"""The command line as a whole."""

import subprocess
import sys

from fakes.command_line import Cli

_HELP_AND_MODULES = """
import sys
from penstock.cli.main import main
sys.argv = ["penstock", "--help"]
try:
    main()
except SystemExit:
    pass
slow = ("grpc", "google.protobuf", "penstock_shared", "opentelemetry", "torch", "ray", "transformers", "psutil")
print([name for name in sys.modules if name.startswith(slow)], file=sys.stderr)
"""


def test_help_teaches_by_example(cli: Cli) -> None:
    """The first screen is enough to start, ask and stop."""
    ran = cli("--help")
    assert ran.code == 0
    for command in ("penstock up --detach", "penstock generate", "penstock status", "penstock down"):
        assert command in ran.out


def test_help_imports_nothing_slow() -> None:
    """Help and completion answer at once."""
    run = subprocess.run([sys.executable, "-c", _HELP_AND_MODULES], capture_output=True, text=True, check=True)
    assert run.stderr == "[]\n"


def test_wrong_usage_is_exit_code_2(cli: Cli) -> None:
    """As everywhere."""
    ran = cli("generate", "Hi", "--temprature", "0")
    assert ran.code == 2
    assert "--temperature" in ran.err


def test_version(cli: Cli) -> None:
    """What to write into a bug report."""
    assert cli("version").out == "penstock 0.1.0\n"


def test_a_clients_install_says_what_the_command_line_lacks() -> None:
    """`pip install .` makes the command too; without typer it shall name the way out, not show a traceback."""
    code = "import sys; sys.modules['typer'] = None; from penstock.cli.main import main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the command line is not installed, only the client; in Penstock's directory: pip install '.[cli]'\n"
    )
