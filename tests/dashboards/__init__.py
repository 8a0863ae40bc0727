"""The Grafana dashboards of the chart, written from Python by `make generate`: `python -m tests.dashboards`."""
