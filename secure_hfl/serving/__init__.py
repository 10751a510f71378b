"""Predictions of a finished task over HTTP, at the Host: `secure-hfl serve SCRIPT --http 127.0.0.1:8080`.

server.py        listens, and ends in order
app.py           what is asked and answered; description.py: the same as OpenAPI
token.py         who may ask
connections.py   closes those on which no request comes
figures.py       for Prometheus
"""
