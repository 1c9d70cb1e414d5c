"""A plugin file with networks that refuse arguments: some by zoo's error, some by one of Python's, some images."""

from oddnets import linear

from zoo.hookspecs import hookimpl
from zoo.specs import ModelSpec


@hookimpl
def zoo_models():
    about = {"target": "pickynets:picky", "defaults": {"width": 4}}
    return [
        ModelSpec(id="pickynets/sorry", arguments={"refusal": "usage", "largest": 1000}, **about),
        ModelSpec(id="pickynets/curt", arguments={"refusal": "value", "largest": 1000}, **about),
        ModelSpec(id="pickynets/small", arguments={"refusal": "usage", "largest": 64}, **about),
    ]


def picky(*, in_chans, num_classes, image_size, width, refusal, largest):
    from zoo.errors import UsageError

    if width < 1:
        text = f"width={width} must be 1 or more."
        raise UsageError(text) if refusal == "usage" else ValueError(text)
    if image_size > largest:
        raise UsageError(f"Images of {image_size} pixels.")
    network = linear(in_chans, num_classes, image_size)
    assert network[1].weight.isfinite().all()  # impossible without values
    return network
