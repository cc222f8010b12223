"""The parser, where vLLM 0.32.0 has it."""

from argparse import ArgumentParser as FlexibleArgumentParser

__all__ = ["FlexibleArgumentParser"]
