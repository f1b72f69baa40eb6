"""Fuzzing of everything that reads a user's file: see `tools/fuzz.py`."""
