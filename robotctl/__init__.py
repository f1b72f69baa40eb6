"""An objective-driven robot controller: a learned world model, a constrained planner, guardrails that hold."""

__version__ = "0.1.0"
