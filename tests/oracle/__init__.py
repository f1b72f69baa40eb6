"""The oracle: guardrails measured a second time, with other tools than the judge uses."""
