"""How threads of OpenMP wait is said before the library is loaded, by whichever package comes first."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["training", "recsys_spark"])
@pytest.mark.parametrize(("given", "told"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(package, given, told):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    script = f"import os, sys, {package}; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [told, "False"]
