"""`make pictures`: the dashboards of the chart, drawn from their JSON with what a real run told a real Prometheus."""
