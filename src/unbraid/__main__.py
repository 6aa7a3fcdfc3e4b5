"""`python -m unbraid`."""

from unbraid.cli.start import main

if __name__ == "__main__":
    main()
