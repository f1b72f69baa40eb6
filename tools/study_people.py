"""Judges the human motion model more closely than `robotctl train` has time for: `python tools/study_people.py`.

Prints JSON: a model of ordinary people on people and on recorded clips it has not seen, its learning curve, and
what fitting on the other clips would change.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from robotctl.training.fit_people import evaluate_people, fit_people
from robotctl.training.people_data import collect_people, together
from robotctl.training.recordings import watch_recordings
from robotctl.training.study_people import first_people, learning_curve, leave_clips_out
from robotctl.training.target import household, open_target

UNIT = 10  # people collected with one random stream, as `robotctl train` does


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--fitted", type=int, default=120, help="people")
    parser.add_argument("--calibration", type=int, default=60, help="people")
    parser.add_argument("--test", type=int, default=60, help="people")
    parser.add_argument("--steps", type=int, default=2000, help="of the main fit")
    parser.add_argument("--cheap", type=int, default=600, help="steps of the other fits")
    parser.add_argument("--folds", type=int, default=5, help="0: no clips are left out one after another")
    options = parser.parse_args()
    scene, plans = open_target("kitchen")
    speeds = household(scene).assumptions.keypoint_speed()

    def stream(*numbers: int) -> np.random.Generator:
        return np.random.default_rng([options.seed, *numbers])

    def people(kind: int, count: int) -> list[object]:
        return [collect_people(scene.sensors, plans, UNIT, stream(kind, i)) for i in range(-(-count // UNIT))]

    def say(what: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)

    say("watch")
    counts = (options.fitted, options.calibration, options.test)
    train, calibration, test = (together(people(101 + i, n)) for i, n in enumerate(counts))  # type: ignore[arg-type]
    judged = {
        "as recorded": watch_recordings(scene.sensors, stream(111)),
        "slowed down": watch_recordings(scene.sensors, stream(112), speeds),
    }
    say("fit")
    model = fit_people(train, calibration, options.seed, options.steps)
    answer = {"people": evaluate_people(model, test)}
    for way, clips in judged.items():
        answer[f"clips, {way}"] = evaluate_people(model, test, clips)["held_out_clips"]
    print(json.dumps(answer), flush=True)
    say("learning curve")
    sizes = [n for n in (15, 30, 60, 120) if n <= options.fitted]
    curve = learning_curve(train, calibration, test, options.seed, options.cheap, sizes)
    print(json.dumps({"learning_curve": curve}), flush=True)
    if options.folds:
        say("leave clips out")
        fitted = watch_recordings(scene.sensors, stream(113), speeds, subjects=4)
        small = (first_people(train, 60), calibration, test)
        print(json.dumps(leave_clips_out(small, fitted, judged, options.seed, options.cheap, options.folds)))


if __name__ == "__main__":
    main()
