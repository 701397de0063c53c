"""The command line as `python -m penstock`."""

from penstock.cli.main import main

main()
