"""`python -m secure_hfl` is the command line."""

from secure_hfl.cli.app import main

if __name__ == "__main__":
    main()
