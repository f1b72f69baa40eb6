"""Plans one motion under guardrails, without a simulator: what the optimizer answers, and how close it comes.

Run: python examples/plan_one_motion.py
"""

from __future__ import annotations

import numpy as np

from robotctl.guardrails.load import find_guardrails, load_guardrails
from robotctl.objectives.reach import ReachGoal
from robotctl.planning.trajectory_optimizer import TrajectoryOptimizer
from robotctl.robot import RobotModel, tcp_pose
from robotctl.scene_files import load_scene
from robotctl.state import RobotState, State
from robotctl.world_model.kinematic import KinematicModel

scene = load_scene("kitchen")
rules = load_guardrails([find_guardrails("household")], scene)
model = KinematicModel(rules.assumptions.keypoint_speed())
optimizer = TrajectoryOptimizer(rules.guardrails, model, rules.assumptions, scene.boxes())
optimizer.warm_up()

q = scene.robot_start
state = State(0.0, RobotState(q, np.zeros(10), q, np.zeros(10), 0.08))
position, rotation = tcp_pose(q)
goal = ReachGoal(position=position + np.array([0.25, 0.15, -0.10]), rotation=rotation)

plan = optimizer.plan(state, None, goal, RobotModel(), "none")
assert plan.trajectory is not None
reached = tcp_pose(plan.trajectory.q[-1])[0]
print(f"{plan.status.value} from seed '{plan.seed}' after {plan.iterations} QPs")
print(f"the hand ends {1000 * np.linalg.norm(reached - goal.position):.1f} mm from its goal")
for name, margin in plan.margins.items():
    print(f"  {name}: smallest margin {margin.value:.3f} at {margin.time:.1f} s")
