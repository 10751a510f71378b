"""What tests and benchmarks share: real parties on this machine, and what is done to them.

pump.py       conversations of roles, driven in memory       parties.py, series.py, scripts/    parties as processes
limits.py     seconds that follow the machine                faults/, hostile/                  crashes, cuts, attackers
"""
