#!/bin/sh
# Runs the operator of `make bench` under a profiler: `make flamegraph` and `make heap` name this as the program to measure.
# PROFILER=perf|massif, PROGRAM=the operator, OUTPUT=where the profile goes.
set -eu
if [ "$1" != controller ]; then exec "$PROGRAM" "$@"; fi
case $PROFILER in
perf) exec perf record --quiet --freq 499 --call-graph dwarf,16384 --output "$OUTPUT" -- "$PROGRAM" "$@" ;;
massif) exec valgrind --tool=massif --depth=20 --massif-out-file="$OUTPUT" -- "$PROGRAM" "$@" ;;
*) echo "unknown profiler: $PROFILER" >&2; exit 2 ;;
esac
