"""Recorded episodes: what happened when, judged again, run again, and shown."""
