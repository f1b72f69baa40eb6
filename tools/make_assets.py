"""Generates every mesh and model under scenes/assets/: `python tools/make_assets.py`.

A body is a list of closed solids, each with a mass and a colour. From the solids come the visual meshes (one OBJ for
each colour or texture), the mass, the centre of mass and the true inertia (integrated over the solids); collision
shapes are boxes, cylinders and convex meshes, so that a vessel is hollow and every contact is between convex shapes.
Body frame of an object: origin at the centre of its lowest face, z up as it is used.
"""

from __future__ import annotations

from modelling.cutlery import cucumber, cucumber_pieces, fork, kitchen_knife, knife
from modelling.dishes import bowl, cup, plate, pot
from modelling.kitchen import kitchen
from modelling.pantry import pantry
from modelling.people import people
from modelling.robot import robot
from modelling.textures import write_textures
from modelling.writing import ASSETS, SURFACES, write_palette


def main() -> None:
    meshes = ASSETS / "meshes"
    meshes.mkdir(parents=True, exist_ok=True)
    for old in [*ASSETS.glob("*.urdf"), *meshes.iterdir()]:
        old.unlink()
    cutlery = (fork, knife, kitchen_knife, cucumber, cucumber_pieces)
    for make in (cup, bowl, plate, pot, *cutlery, pantry, robot, kitchen, people):
        make()
    write_palette(meshes / "palette.mtl", SURFACES)
    write_textures(meshes)
    sizes = sorted((path.stat().st_size, path.name) for path in meshes.iterdir())
    total, (largest, name) = sum(size for size, _ in sizes), sizes[-1]
    print(f"{len(sizes)} files, {total / 1e6:.2f} MB, the largest {name} with {largest / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
