"""The algorithm. Imports the standard library and numpy, nothing of ours outside this folder."""
