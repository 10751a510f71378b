"""What tests and benchmarks share: real parties on this machine, and what is done to them.

pump.py       conversations of roles, driven in memory       parties.py, series.py, scripts/    parties as processes
limits.py     seconds that follow the machine                faults/, hostile/                  crashes, cuts, attackers
vitals.py     memory, threads and descriptors of a process    ray_nodes.py                       a Ray of several nodes
processes.py  Python that is forked off ready (preloaded.py)  ports.py                           free ports
known_messages.py  every message type
"""
