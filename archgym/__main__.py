"""`python -m archgym`: the command line."""

from archgym.cli import main

if __name__ == "__main__":
    main()
