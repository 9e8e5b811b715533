"""What kernels give in Triton's interpreter, which must be chosen before Triton is imported: in its own process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_WORKS_AT_ALL = """
import json, sys
import numpy as np
import torch
sys.path.insert(0, sys.argv[1])
import plain_kernel
try:
    plain_kernel.run()
except Exception as error:
    print(json.dumps({"broken": f"{type(error).__name__}: {error}"}))
    raise SystemExit
"""


def interpreted(program):
    """The JSON that a program prints; it knows json, np, torch and the modules of this folder."""
    triton = pytest.importorskip("triton")
    command = [sys.executable, "-c", _WORKS_AT_ALL + program, str(Path(__file__).parent)]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if "broken" in found:
        pytest.skip(
            f"the interpreter of Triton {triton.__version__} fails with NumPy {np.__version__}: {found['broken']}"
        )
    return found
