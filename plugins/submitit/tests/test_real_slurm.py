"""The contract of a launcher on real Slurm: ZOO_TEST_SLURM=1, as root, with slurmctld, slurmd and munge installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from zoo_submitit.slurm import SlurmLauncher

from zoo.host import load_plugins
from zoo.run.checked import CheckedLauncher
from zoo.run.launcher import Job
from zoo.testing.launchers import check_launcher

SCRIPT = Path(__file__).with_name("slurm_here.sh")
ASKED = os.environ.get("ZOO_TEST_SLURM", "") not in ("", "0")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("ZOO_TEST_SLURM", "") in ("", "0"), reason="ZOO_TEST_SLURM=1 starts a real Slurm"
    ),
    pytest.mark.skipif(shutil.which("slurmctld") is None, reason="Slurm is not installed: see slurm_here.sh"),
]


@pytest.fixture(scope="module")
def cluster():
    # Not pytest's own folder: the path of munge's socket must be short.
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        try:
            subprocess.run([SCRIPT, "start", folder], check=True, timeout=60)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SLURM_CONF", f"{folder}/slurm.conf")
                yield Path(folder)
        finally:
            subprocess.run([SCRIPT, "stop", folder], check=True, timeout=60)


def test_the_launcher_keeps_the_contract(cluster, tmp_path):
    check_launcher(load_plugins(environment={}), "submitit/slurm", tmp_path, options={"poll_seconds": 1.0})


@pytest.mark.parametrize(
    ("options", "words"),
    [({"partition": "debgu"}, "Did you mean 'debug'"), ({"constraint": "fsat"}, "Did you mean 'fast'")],
)
def test_what_the_cluster_does_not_have_is_refused(cluster, tmp_path, options, words):
    launcher = CheckedLauncher("submitit/slurm", lambda: SlurmLauncher(**options))
    with pytest.raises(Exception, match=words):
        launcher.check([Job(run_dir=tmp_path / "a" / "b" / "c", command=("true",))])
