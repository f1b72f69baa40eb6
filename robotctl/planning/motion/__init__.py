"""Motions of an arm among given obstacles: from a problem file to a timed, checked path."""
