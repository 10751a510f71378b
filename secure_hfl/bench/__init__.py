"""`secure-hfl bench`: what privacy costs in time, bytes, memory and accuracy, measured on this machine.

command.py          the command              plan.py             what will be measured
measure.py          runs it                  run_progress.py     shows how far it is
model.py            the figures as data      numbers.py          what is worked out of them
recommend.py        a scheme for each link   link.py             a network on loopback, by tcp_proxy.py
machine.py          what it was measured on
terminal_tables.py  for a terminal           report/             for a browser
"""
