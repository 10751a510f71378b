"""Whole batches between real parties: wall and processor time, by width, by collaborators, and over five rounds."""
