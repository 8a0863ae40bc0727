"""The ledger: no task is lost, run twice or killed by scaling, counted apart from all that is counted in Celeriac."""
