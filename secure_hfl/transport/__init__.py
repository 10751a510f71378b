"""Messages between parties: frames and codec, channels, and gRPC over mutual TLS with pinned certificates."""

import os

# Must be set before gRPC is loaded: it would print a line for every attempt to reach a host that is not up yet.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
