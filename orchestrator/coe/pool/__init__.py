"""The experts that this process can use, with their live state, and the hard filter before any score."""

from coe.pool._breaker import Breaker
from coe.pool._build import Builder
from coe.pool._eligibility import eligible, narrow
from coe.pool._pool import Member, Pool

__all__ = ["Breaker", "Builder", "Member", "Pool", "eligible", "narrow"]
