"""Scores: how near what a run makes and reads comes to the truth.

Each file is one kind of score, from arrays to numbers; `evaluation` picks those that fit a run.
"""
