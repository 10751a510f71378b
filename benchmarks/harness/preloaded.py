"""What a process of ours imports anyway: the server of `processes` has done so before it forks.

Frozen, because a collection of garbage would copy these modules into every fork.
"""

import gc
from importlib import import_module

MODULES = (
    "secure_hfl.transport",  # before gRPC
    "torch",
    "torch._dynamo",  # the first optimizer imports it, which takes as long as all the rest
    "torch.profiler._cupti_monitor",
    "torch.utils.tensorboard",
    "grpc._server",
    "numpy.ctypeslib",
    "secure_hfl.audit.command",
    "secure_hfl.cli.app",
    "secure_hfl.engine.host",
    "secure_hfl.engine.collaborator",
    "secure_hfl.engine.supervisor",
    "secure_hfl.schedulers.host",
    "secure_hfl.schedulers.collaborator",
    "secure_hfl.schemes",
    "protocols.he.bfv",
    "benchmarks.harness.processes",
)

for _name in MODULES:
    import_module(_name)
gc.collect()
gc.freeze()
