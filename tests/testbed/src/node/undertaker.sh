# Ends all that is left of a node, when its input closes.
#
# Standard input is a pipe whose other end only the test process holds. Standard output keeps the work folder, and
# standard error the lock of the slot; nothing is written to either.
# $1 is the name of the node's cgroups and of its network link.
#
# The mounts and the network namespaces are of the node's processes alone, and go with the last of them.

name=$1
cat >/dev/null

groups() {
  for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ ! -L "$top" ] && [ -d "$top/$name" ]; then
      find "$top/$name" "$@" 2>/dev/null
    fi
  done
}

# Whoever starts a process while it is killed has the child in the same group.
rounds=0
while [ "$rounds" -lt 200 ]; do
  # 0 stands for a process of another container's, which is nobody's here.
  processes=$(groups -name cgroup.procs -exec cat {} + | grep -v '^0$' | sort -u)
  if [ -z "$processes" ]; then
    break
  fi
  kill -KILL $processes 2>/dev/null
  rounds=$((rounds + 1))
  sleep 0.05
done

ip link delete "$name" 2>/dev/null

# A group whose last process is just ending is busy for a moment.
rounds=0
while [ -n "$(groups -depth -type d)" ] && [ "$rounds" -lt 200 ]; do
  groups -depth -type d -exec rmdir {} ';' >/dev/null
  rounds=$((rounds + 1))
  sleep 0.02
done
