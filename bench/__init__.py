"""Benchmarks: minigan beside its peers, in one process, on this machine.

`python -m bench PART` from the repository root, or `minigan bench PART` from anywhere. A part
measures, prints a table, and writes `results/PART.json` and its picture; `python -m bench readme`
puts the newest numbers into bench/README.md and the README. `python -m bench same-bytes CHECKOUT`
measures nothing: it says whether another checkout trains every recipe to the same bytes.
"""
