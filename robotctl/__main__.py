"""`python -m robotctl` is `robotctl`."""

from robotctl.cli.main import app

if __name__ == "__main__":
    app(prog_name="robotctl")
