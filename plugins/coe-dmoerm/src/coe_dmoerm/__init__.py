"""Reward experts in two layers (DMoERM), and composite experts that use them.

The functions here are entry points; they import what they return, and nothing before.
"""
