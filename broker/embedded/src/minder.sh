# The parent of a private server. Run by /bin/sh in a session of its own; what it is for stands in minder.rs.
#
# $1 the private directory  $2 setpriv, or nothing  $3 the server program  $4 its TCP port, 0 for none
# fd 0 a socket to the owner, read and written; its end of file is the owner's end
# fd 1 the lock of the private directory  fd 2 the lock of the data directory, or /dev/null
exec 8>&1 9>&2 1>/dev/null 2>/dev/null
# Only the owner's end ends the minder.
trap '' HUP INT QUIT TERM
dir=$1 setpriv=$2 server=$3 port=$4
manner=now config='' pid=''

start() {
    set -- "$server" - --bind 127.0.0.1 --port "$port"
    if [ -n "$setpriv" ]; then set -- "$setpriv" --pdeathsig KILL -- "$@"; fi
    # 9 stays open: the data is in use for as long as a server runs. A server whose configuration never
    # arrives listens nowhere and ends, because its port stands here.
    "$@" 8>&- >>"$dir/redis.log" 2>&1 <<CONFIG &
$config
CONFIG
    pid=$!
}

runs() {
    kill -0 "$pid" || return 1
    # Until it is waited for, a dead child is a zombie.
    stat=''
    read -r stat <"/proc/$pid/stat"
    case $stat in *') Z '*) return 1 ;; esac
}

# $1: "kept" lets the server write what it has to write, for 10 s at most; "now" does not.
end() {
    if [ -z "$pid" ]; then return 0; fi
    if [ "$1" = kept ]; then
        # A stopped server would not see the first signal without the second.
        kill -TERM "$pid" && kill -CONT "$pid"
        left=500
        while [ "$left" -gt 0 ] && runs; do
            sleep 0.02
            left=$((left - 1))
        done
    fi
    kill -KILL "$pid"
    wait "$pid"
    code=$?
    pid=''
    return "$code"
}

while read -r command argument; do
    case $command in
        # One line of the configuration, as it is.
        config) config="$config
$argument" ;;
        # How the server ends when the owner does.
        manner) manner=$argument ;;
        start) start; echo "$pid" >&0 ;;
        end) end "$argument"; echo "$?" >&0 ;;
        signal) kill -"$argument" "$pid"; echo "$?" >&0 ;;
    esac
done
end "$manner"
rm -rf -- "$dir"
