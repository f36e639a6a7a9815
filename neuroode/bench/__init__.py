"""Speed, measured side by side: `python -m neuroode.bench`, what `make bench` runs, writes docs/benchmarks.md."""
