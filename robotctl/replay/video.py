"""This file turns an episode into an MP4: the scene as a picture, its margins and what goes on below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from robotctl.drawing.camera import Camera
from robotctl.drawing.painter import Painter, balls
from robotctl.drawing.raster import Soup
from robotctl.errors import MissingPartError, UsageError
from robotctl.replay.stage import Stage, beads
from robotctl.replay.timeline import Timeline, thinned

WIDTH, HEIGHT, STRIP = 960, 540, 180  # of the scene, and of what is below it [pixels]
RATE = 20  # pictures a second
PLAN, TUBE = (0.12, 0.43, 0.86), (0.96, 0.67, 0.12)  # colours
TUBE_OPACITY = 0.035
MOST = 60  # spheres of a tube that are drawn
INK = "#1b1b1b"
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#9a6b00", "#4a9fd0", "#555555")


def video(
    out: Path,
    title: str,
    stage: Stage,
    line: Timeline,
    speed: float = 1.0,
    progress: Callable[[float], Any] = lambda time: None,
) -> None:
    """Writes the video to `out`. progress: told of every time [s] that is drawn.

    MissingPartError without av and pillow; UsageError when the file cannot be written.
    """
    try:
        import av
        from PIL import Image  # noqa: F401
    except ImportError:
        raise MissingPartError("a video needs av and pillow: pip install 'robotctl[export]'") from None
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(partial), "w", format="mp4") as container:
            stream = container.add_stream("h264", rate=Fraction(RATE))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT + STRIP, "yuv420p"
            stream.options = {"crf": "24", "preset": "veryfast"}
            for image in frames(title, stage, line, speed, progress):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"{out}: the video cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def frames(
    title: str, stage: Stage, line: Timeline, speed: float, progress: Callable[[float], Any]
) -> Iterator[np.ndarray]:
    """The pictures of the video, (HEIGHT + STRIP, WIDTH, 3) uint8."""
    away = (0.9 + 0.56 * stage.extent) * np.array([-0.33, -0.86, 0.62])
    painter = Painter(stage.fixed, Camera(stage.middle + away, stage.middle))
    strip = _Strip(title, line)
    for now in np.arange(stage.time[0], stage.time[-1] + 1e-9, speed / RATE):
        tick = int(np.searchsorted(stage.time, now + 1e-6) - 1)
        drawn = balls(beads(stage.plans[tick]), PLAN), _tube(stage.tube(tick))
        yield np.concatenate([painter.picture(stage.placed, tick, WIDTH, HEIGHT, drawn), strip.picture(tick)])
        progress(float(now))


def _tube(spheres: np.ndarray) -> Soup:
    return balls(spheres[:: max(1, -(-len(spheres) // MOST))], TUBE, TUBE_OPACITY)


class _Strip:
    """What is below the scene: what goes on, and the margins up to now."""

    def __init__(self, title: str, line: Timeline) -> None:
        from PIL import Image, ImageDraw, ImageFont

        self._line, self._draw, self._image, self._font = line, ImageDraw, Image, ImageFont.load_default
        self._title = title
        every = max(1, len(line.time) // 480)
        self._every = every
        self._curves = {
            f"{name} [{line.units[name]}]".replace(" [1]", ""): thinned(values, every) / _full(line.units[name])
            for name, values in sorted(line.judged.items())
            if name in line.units and np.isfinite(values).any()
        }
        self._curves = {name: curve for name, curve in self._curves.items() if np.nanmin(curve) < 0.8}

    def picture(self, tick: int) -> np.ndarray:
        image = self._image.new("RGB", (WIDTH, STRIP), "white")
        draw = self._draw.Draw(image)
        small, large = self._font(13), self._font(17)
        line = self._line
        now = line.time[tick]
        doing = next((span.what for span in line.skills if span.start <= now <= span.end), "")
        acts = next((span.what for span in line.interventions if span.start <= now <= span.end + 0.5), "")
        near = line.distance[tick]
        words, color = ("safety filter passes", "#2a7d46") if line.filtered else ("no safety filter in this arm", INK)
        if acts:
            words, color = f"safety filter acts: {acts}", "#b36b00"
        rows = [
            (f"{now:5.1f} s   {doing}", INK),
            (f"objective: {line.objective[tick]} of {line.objective_total} met", INK),
            (f"nearest person: {near:.2f} m" if np.isfinite(near) else "nobody near", INK),
            (words, color),
        ]
        draw.text((14, 8), self._title, fill=INK, font=large)
        for i, (text, ink) in enumerate(rows):
            draw.text((14, 36 + 20 * i), text, fill=ink, font=small)
        self._plot(draw, small, tick)
        return np.asarray(image)

    def _plot(self, draw: Any, font: Any, tick: int) -> None:
        left, right, top, bottom = 330, 720, 14, 160
        draw.rectangle((left, bottom, right, bottom + 6), fill="#fbe3dc")
        draw.line((left, bottom, right, bottom), fill="#b03a00")
        draw.text(
            (left, 1), "true margins: below the red line a guardrail is violated", fill="#666", font=self._font(11)
        )
        step = (right - left) / max(1, len(self._line.time) // self._every)
        upto = tick // self._every + 1
        for i, (name, curve) in enumerate(self._curves.items()):
            color = CURVES[i % len(CURVES)]
            last: tuple[float, float] | None = None
            for k, value in enumerate(curve[:upto]):
                if not np.isfinite(value):
                    last = None
                    continue
                point = (left + k * step, bottom - min(max(float(value), -0.04), 1.0) * (bottom - top))
                draw.line((last or point, point), fill=color, width=2)
                last = point
            draw.text((right + 14, top + 18 * i), name, fill=color, font=font)


def _full(unit: str) -> float:
    """The margin that reaches the top of the plot."""
    from robotctl.judge.judge import NEAR

    return NEAR[unit]
