"""Messages between parties: frames and codec, channels, and gRPC over mutual TLS with pinned certificates."""

import os
import sys

# Both must be set before gRPC is loaded, and a user's own choice counts.
# It would print a line for every attempt to reach a host that is not up yet.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# With its support for forks gRPC starts its threads again in every forked process, from inside fork(): they run while
# Python still puts its own state in order there, and now and then the process dies of it. In three of ten runs that
# was a worker of a DataLoader at the host. Who forks here does not use gRPC in the fork, so it may sleep there.
_IS_OFF_ALREADY = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").lower() in ("0", "false")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
GRPC_SUPPORTS_FORKS = os.environ["GRPC_ENABLE_FORK_SUPPORT"].lower() not in ("0", "false")
FORKS_SAFELY = "grpc" not in sys.modules or _IS_OFF_ALREADY
"""Whether processes can be forked while a task runs. Not if the user's code has loaded gRPC before us."""
