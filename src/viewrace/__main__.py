"""`python -m viewrace`."""

from viewrace.cli import main

if __name__ == "__main__":
    main()
