"""Planners that ours is compared with, one file each. Their libraries are imported only when they are asked for."""
