"""`zoo greet`."""

import click


@click.command()
@click.argument("whom")
def greet(whom: str) -> None:
    """Greet somebody."""
    click.echo(f"hello {whom}")
