"""`python -m ushape` is the command `ushape`."""

from ushape.cli import main

if __name__ == "__main__":
    main()
