"""The same random actions with the shield and without: what they cost, by the judge.

Run: python examples/gymnasium_random_policy.py      (needs: pip install 'robotctl[gym]')
"""

from __future__ import annotations

import gymnasium

import robotctl.environments  # registers robotctl/...

gymnasium.register_envs(robotctl.environments)

for shield in (True, False):
    env = gymnasium.make("robotctl/KitchenClearTable-v0", shield=shield)
    env.action_space.seed(1)
    env.reset(seed=1)
    cost = interventions = 0
    for step in range(100):  # 5 s
        if step % 10 == 0:  # held for half a second: fresh noise every tick would hardly move the robot
            action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        cost += info["cost"]
        interventions += info["intervened"]
        if terminated or truncated:
            break
    tightest = min(info["margins"], key=info["margins"].get)
    print(
        f"shield {'on: ' if shield else 'off:'} cost {cost:.0f}, {interventions} of {step + 1} actions changed, ",
        end="",
    )
    print(f"tightest in the last step: {tightest} {info['margins'][tightest]:.3f}")
    env.close()
