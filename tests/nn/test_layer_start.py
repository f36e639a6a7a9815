"""Starting a layer must not load what it does not need."""

import subprocess
import sys

CODE = """
import sys, torch, neuroode as no
no.load("lif").torch(3)(torch.zeros(2, 1, 3))
print("torch._dynamo" in sys.modules)
"""


def test_a_layer_runs_without_torchs_compiler():
    out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
