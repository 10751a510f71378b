"""`secure-hfl demo`: the tutorial's task between real processes on this machine."""
