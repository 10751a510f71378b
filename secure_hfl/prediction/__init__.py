"""Predictions of a finished task: the parties that have trained it predict together on samples of the Host's choice."""
