"""`secure-hfl bench`: what privacy costs in time, bytes, memory and accuracy, measured on this machine."""
