"""The experts that this process can use, with their live state, and the hard filter before any score."""

from coe.pool._build import Builder
from coe.pool._eligibility import eligible, narrow
from coe.pool._pool import Member, Pool

__all__ = ["Builder", "Member", "Pool", "eligible", "narrow"]
