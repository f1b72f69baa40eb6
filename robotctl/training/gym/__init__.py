"""`robotctl train gym:ENV_ID`: collect, fit, plan and report on any Gymnasium environment with continuous actions."""
