"""The experts that this process can use, with their live state, and the hard filter before any score."""

from coe.pool._build import Builder
from coe.pool._eligibility import eligible, narrow
from coe.pool._pool import Member, Pool
from coe.pool._probes import Prober

__all__ = ["Builder", "Member", "Pool", "Prober", "eligible", "narrow"]
