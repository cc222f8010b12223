"""The plugin's commands."""
