"""``python -m ecofed``: the command line, where the command itself is not on the path."""

from ecofed.cli import main

if __name__ == "__main__":
    main()
