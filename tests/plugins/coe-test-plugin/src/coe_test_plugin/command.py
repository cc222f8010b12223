"""A CLI sub-app."""

import typer

app = typer.Typer(help="Says hello from the test plugin.")


@app.command()
def hello(name: str = "you") -> None:
    """Say hello."""
    typer.echo(f"hello {name} from coe-test-plugin")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo("1.2.3")
