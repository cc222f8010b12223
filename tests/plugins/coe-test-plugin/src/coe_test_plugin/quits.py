"""Ends the process when imported, as a script does that was mistaken for a module."""

import sys

sys.exit("quits.py is a script")
