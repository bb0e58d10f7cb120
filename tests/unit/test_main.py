"""`python -m pycloudlib`."""

import subprocess
import sys


def test_python_m_pycloudlib_runs_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "pycloudlib", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pycloudlib, version ")
