"""Predictions of a finished task over HTTP, at the Host: `secure-hfl serve SCRIPT --http 127.0.0.1:8080`."""
