"""The commands that turn outcomes into routers; registered in the group coe.commands."""
