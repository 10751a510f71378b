"""The HTML report of a benchmark. Its markup is in secure_hfl/pages.

svg.py     matplotlib's figures as SVG that the page's policy admits        plots.py    kinds of plots
figures.py, series.py, privacy.py    the sections                           page.py     the whole
"""
