"""The score table: how well each expert does in each category, small cells shrunk."""

from coe_routers.scores._intervals import bootstrap_mean, paired_bootstrap
from coe_routers.scores._table import ScoreTable, best_single, cautious, score_table

__all__ = ["ScoreTable", "best_single", "bootstrap_mean", "cautious", "paired_bootstrap", "score_table"]
