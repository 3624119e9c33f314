# Runs "$@" and sees to it that it ends when the process that asked for it does.
#
# Standard input is a pipe whose other end only that process holds. Each line is the name of a signal to
# pass on; its end means that the process is gone, whatever took it: the child gets TERM, and after $2
# tenths of a second KILL.
# Standard output is held open and never written to: it keeps the work folder (see folder.rs).
# Standard error carries one line, the process id of the child.

log=$1
grace=$2
shift 2

exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
child=$!
echo "$child" >&2
exec 2>/dev/null

(
  while read -r signal <&3; do
    kill -"$signal" "$child"
  done
  if [ "$grace" -gt 0 ]; then
    kill -TERM "$child"
  fi
  while [ "$grace" -gt 0 ] && kill -0 "$child"; do
    sleep 0.1
    grace=$((grace - 1))
  done
  kill -KILL "$child"
) &
listener=$!
exec 3<&-

wait "$child"
code=$?
kill "$listener"
exit "$code"
