"""Every kernel in plain NumPy, written to be obviously right: the oracle of the fast twins."""
