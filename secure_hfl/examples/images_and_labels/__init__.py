"""Images at one site, labels at another: `host.py` is a registry with nothing but labels, `collaborator.py` a clinic.

`digits.py` has what both share.
"""
