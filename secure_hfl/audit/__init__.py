"""`secure-hfl audit`: checks transcripts, and says who learned what: on a terminal, as JSON, as one HTML page, live."""
