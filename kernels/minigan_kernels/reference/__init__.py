"""Every kernel in plain NumPy, written to be obviously right: the fast twins are checked by it."""
