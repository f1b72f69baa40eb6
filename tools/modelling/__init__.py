"""Modelling of everything under scenes/assets: see tools/make_assets.py."""
