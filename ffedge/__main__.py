"""``python -m ffedge``: the same as the ``ffedge`` script."""

from .cli import run

if __name__ == "__main__":
    run()
