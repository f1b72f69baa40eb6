"""Drake's KinematicTrajectoryOptimization: a B-spline of joints, SNOPT where this Drake has it, else IPOPT.

For problems without people only: speeds that depend on distance and uprightness are not among its constraints. As in
Drake's own examples it is solved first without, then with collision constraints at a number of samples. The spheres
are grown by the model's bound and a pad. It minimises duration and path length, not the common cost; the result is
slowed down to the ceiling on speeds and turned into accelerations for the checker, neither of which is timed.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from robotctl.bench.peers.formulation import LIMIT_ROOM
from robotctl.bench.peers.peer import Answer
from robotctl.bench.planner_problems import DT, STEPS, PlanningProblem, accelerations
from robotctl.geometry import rotation_z
from robotctl.guardrails.clearance import Clearance
from robotctl.guardrails.guardrail import parts
from robotctl.guardrails.keep_out import KeepOut
from robotctl.robot import ARM_OFFSETS, DDQ_MAX, DQ_MAX, Q_MAX, Q_MIN, T_LINK7_HAND

CONTROL_POINTS = 10
COLLISION_SAMPLES = 25
GROWN = 0.008  # [m] of every sphere, beyond the model's bound: between samples, and joints that trail
INFLUENCE = 0.05  # [m] pairs farther apart than this are left out of the smoothed minimum
LIMIT_SHARE = 0.85  # of speeds and accelerations: piecewise constant accelerations follow a spline only roughly
SPEED = 1.0  # [m/s] of any sphere
MOST_ITERATIONS = 300
LINKS = ("base", *(f"link{i}" for i in range(1, 8)), "hand")


class DrakeKto:
    name = "drake"
    kinds = ("static", "shelf")

    def solve(self, problem: PlanningProblem, time_limit: float) -> Answer:
        from pydrake.multibody.inverse_kinematics import MinimumDistanceLowerBoundConstraint
        from pydrake.planning import KinematicTrajectoryOptimization
        from pydrake.solvers import IpoptSolver, SnoptSolver, SolverOptions

        diagram, plant = _plant(problem)
        diagram_context = diagram.CreateDefaultContext()
        context = plant.GetMyMutableContextFromRoot(diagram_context)
        free, n = np.array(problem.joints), len(problem.joints)
        start, goal = problem.state.robot.q_ref[free], np.asarray(problem.goal.q)[free]
        solver = SnoptSolver() if SnoptSolver().available() and SnoptSolver().enabled() else IpoptSolver()
        options = SolverOptions()
        options.SetOption(SnoptSolver.id(), "Time limit", time_limit)
        options.SetOption(SnoptSolver.id(), "Major iterations limit", MOST_ITERATIONS)
        options.SetOption(IpoptSolver.id(), "max_wall_time", time_limit)

        task = KinematicTrajectoryOptimization(n, CONTROL_POINTS)
        task.AddDurationCost(1.0)
        task.AddPathLengthCost(1.0)
        task.AddPositionBounds((Q_MIN + LIMIT_ROOM)[free], (Q_MAX - LIMIT_ROOM)[free])
        task.AddVelocityBounds(-LIMIT_SHARE * DQ_MAX[free], LIMIT_SHARE * DQ_MAX[free])
        task.AddAccelerationBounds(-LIMIT_SHARE * DDQ_MAX[free], LIMIT_SHARE * DDQ_MAX[free])
        task.AddDurationConstraint(0.5, STEPS * DT)
        task.AddPathPositionConstraint(start, start, 0.0)
        task.AddPathPositionConstraint(goal, goal, 1.0)
        still = np.zeros(n)
        task.AddPathVelocityConstraint(still, still, 0.0)
        task.AddPathVelocityConstraint(still, still, 1.0)
        line = start[:, None] + np.linspace(0.0, 1.0, CONTROL_POINTS) * (goal - start)[:, None]
        program = task.get_mutable_prog()
        program.SetInitialGuess(task.control_points(), line)
        program.SetInitialGuess(task.duration(), 2.0)
        begin = time.perf_counter()
        first = solver.Solve(program, solver_options=options)
        apart = MinimumDistanceLowerBoundConstraint(plant, 0.0, context, None, INFLUENCE)
        for s in np.linspace(0.0, 1.0, COLLISION_SAMPLES):
            task.AddPathPositionConstraint(apart, s)
        program.SetInitialGuess(program.decision_variables(), first.GetSolution(program.decision_variables()))
        result = solver.Solve(program, solver_options=options)
        ms = 1e3 * (time.perf_counter() - begin)
        note = f"{solver.solver_id().name()}, {'solved' if result.is_success() else 'not solved'}"
        spline = task.ReconstructTrajectory(result)
        return Answer(ms, _accelerations(problem, free, spline), note=note)


def _accelerations(problem: PlanningProblem, free: np.ndarray, spline: Any) -> np.ndarray:
    """The spline, slowed down where a sphere would be too fast, as accelerations (H, 10)."""
    duration = spline.end_time() - spline.start_time()

    def at(times: np.ndarray, factor: float) -> np.ndarray:
        q = np.tile(problem.state.robot.q_ref, (len(times), 1))
        for row, t in zip(q, times, strict=True):
            row[free] = spline.value(spline.start_time() + min(t / factor, duration)).ravel()
        return q

    fine = np.linspace(0.0, duration, 61)
    q = at(fine, 1.0)
    _, velocity, turning, _ = problem.robot.sphere_motion(q, np.gradient(q, fine[1], axis=0))
    fastest = (np.linalg.norm(velocity, axis=2) + turning * problem.robot.spheres.radius).max()
    factor = max(1.0, min(fastest / SPEED, STEPS * DT / duration))
    return accelerations(at(DT * np.arange(STEPS + 1), factor), problem.state.robot.dq_ref)


def _plant(problem: PlanningProblem) -> tuple[Any, Any]:
    """The robot as spheres on links, boxes and obstacles in the world, with only the pairs that matter."""
    from pydrake.geometry import Box, CollisionFilterDeclaration, GeometrySet, Sphere
    from pydrake.math import RigidTransform, RotationMatrix
    from pydrake.multibody.parsing import Parser
    from pydrake.multibody.plant import AddMultibodyPlantSceneGraph, CoulombFriction
    from pydrake.systems.framework import DiagramBuilder

    builder = DiagramBuilder()
    plant, scene = AddMultibodyPlantSceneGraph(builder, 0.0)
    Parser(plant).AddModelsFromString(_urdf(problem), "urdf")
    friction = CoulombFriction(1.0, 1.0)
    spheres, robot = problem.robot.spheres, problem.robot
    bound = float(problem.position_bound.max()) + GROWN
    asked = max((g.distance for g in problem.guardrails if isinstance(g, Clearance)), default=0.0)
    extra = np.zeros(len(spheres))
    extra[parts(robot, "base", "arm", "hand")] = asked
    ids = []
    for i in range(len(spheres)):
        body = plant.GetBodyByName(LINKS[spheres.frame[i]])
        shape = Sphere(float(spheres.radius[i] + bound + extra[i]))
        ids.append(plant.RegisterCollisionGeometry(
            body, RigidTransform(spheres.offset[i]), shape, f"sphere{i}", friction))  # fmt: skip
    boxes = [(b.center, rotation_z(b.yaw), b.half) for b in problem.boxes]
    for g in problem.guardrails:
        if isinstance(g, KeepOut):
            boxes += list(zip(g.boxes.center, g.boxes.rotation, g.boxes.half, strict=True))
    solid = [
        plant.RegisterCollisionGeometry(
            plant.world_body(), RigidTransform(RotationMatrix(R), c), Box(*(2.0 * h)), f"box{i}", friction
        )
        for i, (c, R, h) in enumerate(boxes)
    ]
    balls = [
        plant.RegisterCollisionGeometry(
            plant.world_body(), RigidTransform(o[:3]), Sphere(float(o[3])), f"ball{i}", friction
        )
        for i, o in enumerate(problem.obstacles)
    ]
    plant.Finalize()
    frame = spheres.frame
    fixed = GeometrySet([ids[i] for i in np.flatnonzero(frame < (1 if len(problem.joints) == 7 else 0))])
    outer = GeometrySet([ids[i] for i in np.flatnonzero(frame >= 5)])
    middle = GeometrySet([ids[i] for i in np.flatnonzero((frame > 1) & (frame < 5))])
    inner = GeometrySet([ids[i] for i in np.flatnonzero(frame <= 1)])
    manager = scene.collision_filter_manager()
    declaration = CollisionFilterDeclaration()
    for one in (outer, middle, inner):
        declaration.ExcludeWithin(one)
    declaration.ExcludeBetween(middle, outer).ExcludeBetween(middle, inner)
    declaration.ExcludeBetween(GeometrySet(balls), middle).ExcludeBetween(GeometrySet(balls), inner)
    declaration.ExcludeBetween(fixed, GeometrySet(solid))
    manager.Apply(declaration)
    return builder.Build(), plant


def _urdf(problem: PlanningProblem) -> str:
    """The joints that move, as URDF text; with seven of them the base stands where the problem starts."""
    x, y, yaw = (float(v) for v in problem.state.robot.q_ref[:3])
    mass = '<inertial><mass value="1"/><inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>'
    parts_ = [f'<link name="{name}">{mass}</link>' for name in ("world_x", "world_y", *LINKS)]

    def joint(name: str, kind: str, parent: str, child: str, origin: str, axis: str = "0 0 1") -> str:
        limit = "" if kind == "fixed" else '<limit lower="-30" upper="30" effort="100" velocity="10"/>'
        return (
            f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
            f'{origin}<axis xyz="{axis}"/>{limit}</joint>'
        )

    def origin(transform: np.ndarray) -> str:
        roll = np.arctan2(transform[2, 1], transform[2, 2])
        pitch = -np.arcsin(np.clip(transform[2, 0], -1.0, 1.0))
        turn = np.arctan2(transform[1, 0], transform[0, 0])
        xyz = " ".join(f"{v:.12g}" for v in transform[:3, 3])
        return f'<origin xyz="{xyz}" rpy="{roll:.12g} {pitch:.12g} {turn:.12g}"/>'

    whole = len(problem.joints) == 10
    here = "" if whole else f'<origin xyz="{x} {y} 0" rpy="0 0 {yaw}"/>'
    parts_.append(joint("base_x", "prismatic" if whole else "fixed", "world", "world_x", here, "1 0 0"))
    parts_.append(joint("base_y", "prismatic" if whole else "fixed", "world_x", "world_y", "", "0 1 0"))
    parts_.append(joint("base_yaw", "revolute" if whole else "fixed", "world_y", "base", ""))
    for i in range(7):
        parts_.append(joint(f"arm{i + 1}", "revolute", LINKS[i], LINKS[i + 1], origin(ARM_OFFSETS[i])))
    parts_.append(joint("hand_mount", "fixed", "link7", "hand", origin(T_LINK7_HAND)))
    return f'<robot name="peer"><link name="world"/>{"".join(parts_)}</robot>'
