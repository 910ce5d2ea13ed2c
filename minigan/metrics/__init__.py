"""Scores of what a run generates and reads, against the truth.

Each file is one kind of score, from arrays to numbers; `evaluation` chooses those for a run.
"""
