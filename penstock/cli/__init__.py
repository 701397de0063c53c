"""The `penstock` command line. `main` holds the commands, one module beside it does the work of each."""
