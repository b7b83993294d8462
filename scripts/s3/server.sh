#!/usr/bin/env bash
# A throw-away S3 server on loopback: one node of Ceph with its RADOS gateway, data in memory.
#
#   server.sh start DIR PORT   returns when it answers; key `test`, secret `testtest`, path style
#   server.sh stop DIR         ends its processes (by the ids in DIR) and removes DIR
#
# Debian packages: ceph-mon ceph-osd ceph-common radosgw. The monitor listens on PORT + 1000.
set -euo pipefail

stop() {
  local name id
  for name in rgw osd mon; do
    [[ -f $dir/$name.pid ]] || continue
    id=$(cat "$dir/$name.pid")
    kill "$id" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$id" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$id" 2>/dev/null || true
  done
  rm -rf "$dir"
}

write_configuration() {
  cat >"$dir/ceph.conf" <<C
[global]
fsid = $fsid
mon_host = v1:127.0.0.1:$monitor_port
ms_bind_msgr2 = false
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = $dir/run
admin_socket = $dir/run/\$name.\$pid.asok
log_file = $dir/log/\$name.log
pid_file =
keyring = $dir/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 1
[mon]
mon_data = $dir/mon
[osd]
osd_data = $dir/osd
osd_objectstore = memstore
osd_class_update_on_start = false
memstore_device_bytes = 4294967296
osd_memory_target = 939524096
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw_dns_name = localhost
rgw_enable_usage_log = false
rgw_override_bucket_index_max_shards = 1
C
  : >"$dir/keyring"
}

start_monitor() {
  monmaptool --create --fsid "$fsid" --addv a "[v1:127.0.0.1:$monitor_port]" "$dir/monmap" >/dev/null
  ceph-mon -c "$conf" --mkfs -i a --monmap "$dir/monmap" >"$dir/log/mon.mkfs" 2>&1
  ceph-mon -c "$conf" -i a -f >"$dir/log/mon.out" 2>&1 &
  echo $! >"$dir/mon.pid"
}

launch_osd() {
  ceph-osd -c "$conf" -i 0 -f >>"$dir/log/osd.out" 2>&1 &
  echo $! >"$dir/osd.pid"
}

start_osd() {
  local osd_id
  osd_id=$(cat /proc/sys/kernel/random/uuid)
  for _ in $(seq 60); do
    timeout 5 ceph -c "$conf" --connect-timeout 2 osd new "$osd_id" >/dev/null 2>&1 && break
    sleep 0.2
  done
  ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd_id" >"$dir/log/osd.mkfs" 2>&1
  launch_osd
  # It sometimes dies at boot with "wrong fsid" (a race for the monitors' map): then once more.
  for _ in $(seq 100); do
    kill -0 "$(cat "$dir/osd.pid")" 2>/dev/null || launch_osd
    timeout 5 ceph -c "$conf" osd stat 2>/dev/null | grep -q '1 up' && return
    sleep 0.2
  done
  fail osd
}

start_gateway() {
  radosgw -c "$conf" -n client.rgw -f >"$dir/log/rgw.out" 2>&1 &
  echo $! >"$dir/rgw.pid"
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    kill -0 "$(cat "$dir/rgw.pid")" 2>/dev/null || fail rgw
    sleep 0.2
  done
  fail rgw
}

create_user() {
  radosgw-admin -c "$conf" -n client.rgw user create --uid=test --display-name=test \
    --access-key=test --secret=testtest >/dev/null 2>"$dir/log/admin.err" || fail admin
}

fail() {
  echo "the S3 server did not start ($1):" >&2
  tail -n 20 "$dir/log/$1".* >&2 || true
  stop
  exit 1
}

command=${1:-} dir=${2:-}
[[ -n $dir && $dir == /* ]] || { echo "usage: $0 start|stop /absolute/dir [port]" >&2; exit 2; }
case $command in
  stop) stop ;;
  start)
    port=${3:?a port}
    monitor_port=$((port + 1000))
    fsid=$(cat /proc/sys/kernel/random/uuid)
    conf=$dir/ceph.conf
    export CEPH_CONF=$conf
    mkdir -p "$dir"/{mon,osd,run,log}
    write_configuration
    start_monitor
    start_osd
    start_gateway
    create_user
    ;;
  *) echo "usage: $0 start|stop /absolute/dir [port]" >&2; exit 2 ;;
esac
