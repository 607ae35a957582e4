"""`python -m normkd_explore` is `normkd`."""

from normkd_explore.cli import main

if __name__ == "__main__":
    main()
