"""A plugin whose texts hold markup, escape sequences, formulas and Markdown; its images are those of the toy."""

from zoo.hookspecs import hookimpl
from zoo.specs import DatasetSpec, LauncherSpec, ModelSpec, SimulatorSpec

MARKUP = "[/red][bold"
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
FORMULA = "=cmd()|'/c calc'!A0"
TEXT = f"{FORMULA} {MARKUP} :dog: {ESCAPES} $\\frac$ ${{nothing}}$ | end"
CLASSES = (TEXT, f"@{MARKUP}{ESCAPES}", "c")

about = {"summary": TEXT, "card": f"A card.\n\n{TEXT}", "tags": (TEXT,)}


@hookimpl
def zoo_models():
    return [
        ModelSpec(id="hostile/tiny", target="hostile:tiny", defaults={TEXT: TEXT, "width": 4}, **about),
        ModelSpec(id="hostile/broken", target="hostile:broken", **about),
    ]


@hookimpl
def zoo_datasets():
    return [
        DatasetSpec(
            id="hostile/stripes",
            target="hostile:stripes",
            classes=CLASSES,
            params={TEXT: TEXT, "count": 600},
            meanings={TEXT: TEXT},
            budget_notes={"smoke": TEXT},
            shown=(TEXT,),
            captions={"index": TEXT.replace("{nothing}", "") + " {:.0f}"},
            slices={"index": TEXT},
            **about,
        )
    ]


@hookimpl
def zoo_simulators():
    return [SimulatorSpec(id="hostile/lens", target="hostile:nothing", **about)]


@hookimpl
def zoo_launchers():
    return [LauncherSpec(id="hostile/start", target="hostile:nothing", **about)]


@hookimpl
def zoo_commands():
    import click

    return [click.Command("greet", help=f"{ESCAPES} {TEXT}")]


def tiny(*, in_chans, num_classes, image_size, width, **texts):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * image_size**2, num_classes))


def broken(**_):
    raise RuntimeError(TEXT)


def stripes(*, count, **texts):
    """Return noise with a bright row band that differs between the classes."""
    import numpy as np

    from zoo.data.images import ImageSet

    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = generator.normal(size=(count, 1, 12, 12)).astype(np.float32)
    for k in range(3):
        images[labels == k, :, 4 * k : 4 * k + 4] += 0.35
    return ImageSet(
        images=images, labels=labels, ids=[f"{TEXT}{i}" for i in range(count)], metadata={"index": np.arange(count)}
    )
