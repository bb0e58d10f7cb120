# Waits until cloud-init has ended, and prints the outcome. The caller sets these variables: directory, cgroups, schedule, nologin, boot_id,
# units, seconds, pending_looks, settling_looks, ending_looks, unclear_looks; `note TEXT` reports progress.
#
# Querying systemd takes a process, which is slow under emulation. Until the result exists, query it every eighth time.
# `systemctl show --value` needs systemd 230, so the script parses NAME=VALUE.
set -f

# Sets $busy, $running, and $failed to units of cloud-init. Fails if systemd is unreachable.
units_tell() {
    told=$(systemctl show -p Id -p ActiveState -p SubState -p Job $units 2>/dev/null)
    busy= running= failed=
    case $told in *ActiveState=*) sighted=yes ;; *) return 1 ;; esac
    IFS='
'
    for line in $told; do
        case $line in
            Id=*) unit=${line#Id=} ;;
            ActiveState=activating | ActiveState=reloading | Job=[1-9]*) busy=$unit ;;
            ActiveState=failed) failed="$failed $unit" ;;
            SubState=running) running=$unit ;;
        esac
    done
    unset IFS
}

ask_cloud_init() {
    said=$(cloud-init status --long 2>&1 </dev/null)
    code=$?
}

progress() {
    [ "$*" = "$noted" ] || note "$*"
    noted=$*
}

stage() { sed -n 's/.*"stage": *"\([a-z-]*\)".*/\1/p' "$directory/status.json" 2>/dev/null; }

# Without systemd, only `cloud-init status` shows that cloud-init is disabled, or has crashed.
status_tells() {
    progress "cloud-init is still running"
    ask_cloud_init
    case $said in
        *"status: running"* | *"status: not "*) return 1 ;;
        *"status: error"*)
            # Up to 23.3, the status is error while later stages still run.
            errors=$((errors + 1))
            [ -z "$(stage)" ] || errors=0
            [ ! -e "$directory/status.json" ] || [ "$errors" -ge 5 ]
            ;;
        *"status: "*) ;;
        *)
            unclear=$((unclear + 1))
            [ "$code" -eq 127 ] || [ "$unclear" -ge "$unclear_looks" ]
            ;;
    esac
}

# Sets $how if cloud-init has ended.
look() {
    if [ -e "$directory/result.json" ]; then
        if units_tell; then
            [ -n "$busy" ] || how=finished
            [ -z "$busy" ] || progress "$busy is still running"
        elif [ ! -d /run/systemd/system ] || [ "$blind" -ge 8 ]; then
            how=finished
        else
            blind=$((blind + 1))
        fi
    elif [ $((looks % 8)) -eq 0 ]; then
        if ! units_tell; then
            ! status_tells || how=idle asked=yes
        elif [ -n "$busy$running" ]; then
            idle=0
            in_stage=$(stage)
            progress "cloud-init is still running: ${busy:-$running}${in_stage:+, stage $in_stage}"
        else
            idle=$((idle + 1))
            [ -e "$directory/enabled" ] && [ "$idle" -lt 2 ] || how=idle
        fi
    fi
}

# A process of cloud-init after the final stage is that of power_state.
power_change_is_pending() {
    [ "$pending" -lt "$pending_looks" ] || return 1
    for unit in cloud-final.service cloud-init-main.service; do
        for file in "$cgroups/system.slice/$unit/cgroup.procs" "$cgroups/systemd/system.slice/$unit/cgroup.procs"; do
            [ -r "$file" ] || continue
            for process in $(cat "$file"); do
                case $(tr '\0' ' ' 2>/dev/null <"/proc/$process/cmdline") in
                    *python*cloud[-_]init* | shutdown\ *) pending=$((pending + 1)); return 0 ;;
                esac
            done
        done
    done
    return 1
}

# Prints the state of systemd: "stopping" before a power-off, "rebooting" before a reboot, "unreachable" if the bus has
# ended already. An unknown state counts as a reboot, because EC2 reports a power-off.
system() {
    if [ -r "$schedule" ] && grep -q '^MODE=reboot' "$schedule"; then
        moment=$(sed -n 's/^USEC=\(.*\)......$/\1/p' "$schedule")
        if [ $((${moment:-0} - $(date +%s))) -lt $((seconds - looks / 4)) ]; then
            echo rebooting
            return
        fi
    fi
    state=$(systemctl is-system-running 2>/dev/null)
    case $state in
        stopping)
            jobs=$(systemctl show -p Job reboot.target kexec.target 2>/dev/null) || jobs=Job=9
            case $jobs in *Job=[1-9]*) state=rebooting ;; esac
            ;;
        "") [ -z "$sighted" ] || state=unreachable ;;
    esac
    echo "$state"
}

# logind accepts a shutdown before systemd begins it, by seconds if a program delays it. When both are unreachable, the
# file that prevents logins remains.
shutdown_is_accepted() {
    ! grep -q 'going down' "$nologin" 2>/dev/null || return 0
    manager=org.freedesktop.login1
    case $(busctl get-property $manager /org/freedesktop/login1 $manager.Manager PreparingForShutdown 2>/dev/null) in
        *true*) ;;
        *) return 1 ;;
    esac
}

# Returns whether the boot is complete, after cloud-init has ended.
is_over() {
    if power_change_is_pending; then
        progress "cloud-init is about to change the power state"
        return 1
    fi
    case $(system) in
        stopping) how=stopping; return 0 ;;
        rebooting) progress "the machine is about to reboot"; return 1 ;;
        unreachable)
            unreachable=$((unreachable + 1))
            if [ "$unreachable" -lt "$pending_looks" ]; then
                progress "the machine is about to go down"
                return 1
            fi
            ;;
        initializing | starting)
            [ "$how" = finished ] || { progress "cloud-init does not run; systemd is still booting"; return 1; } ;;
    esac
    if shutdown_is_accepted; then
        progress "the machine is about to go down"
        return 1
    fi
    # A reboot may be invisible for a moment, between the end of cloud-init and systemd's start of the reboot.
    enough=0
    [ -z "$noted" ] || enough=$ending_looks
    [ "$pending" -eq 0 ] || enough=$settling_looks
    if [ "$settled" -lt "$enough" ]; then
        settled=$((settled + 1))
        return 1
    fi
}

looks=0 idle=0 blind=0 errors=0 unclear=0 pending=0 settled=0 unreachable=0 how= sighted= asked= noted= said= code=
while [ "$looks" -lt $((seconds * 4 + 40)) ]; do
    [ -n "$how" ] || look
    [ -z "$how" ] || ! is_over || break
    looks=$((looks + 1))
    sleep 0.25 2>/dev/null || sleep 1
done
[ -n "$asked" ] || [ "$how" != idle ] && [ -z "$failed" ] || ask_cloud_init
printf '=%s\n%s\n' how "$how" boot "$(cat "$boot_id" 2>/dev/null)" failed "$failed" code "$code" said "$said"
for name in status result; do
    echo "=$name"
    cat "$directory/$name.json" 2>/dev/null
    echo
done
