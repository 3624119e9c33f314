# Makes the network and mount namespace that it was started in a place for a node, and stays there to keep it.
#
# $1 is a folder for what the node writes.

set -e
folder=$1

# Nothing that is mounted here shows outside, and the other way round.
mount -t tmpfs -o mode=755 node "/run"
mkdir -p "$folder/log"
mount --bind "$folder/log" /var/log

# kubelet sets these for the whole machine. Here they have the values that it wants, in files that are nobody's.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  path=/proc/sys/${setting%=*}
  if [ -e "$path" ]; then
    stand_in=$folder/$(basename "$path")
    echo "${setting#*=}" >"$stand_in"
    mount --bind "$stand_in" "$path"
  fi
done

# These are of the network namespace.
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up

echo ready
exec sleep infinity
