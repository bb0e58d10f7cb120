"""The network configuration of the default image's guest, besides cloud-init's own.

On a VPC, cloud-init configures the interfaces present at boot, by DHCP and DHCPv6, as in a real AMI. ec2-interface
adds what amazon-ec2-net-utils and Debian's cloud-ifupdown-helper add there: policy routing for secondary interfaces,
and a configuration for hotplugged ones.

On QEMU's user networking, DHCP assigns the primary address in a network wider than the subnet, since the network must
contain the metadata service as well. There is no DHCPv6. ec2-interface configures all interfaces there, from DHCP and
the metadata, and a kernel argument disables cloud-init's network configuration.
"""

from __future__ import annotations

PROGRAM_PATH = "usr/local/sbin/ec2-interface"
STANZAS = "/run/network/interfaces.d"
CLOUD_INIT_RULES = "/etc/udev/rules.d/10-cloud-init-hook-hotplug.rules"
CLOUD_INIT_STANZAS = "/etc/network/interfaces.d/50-cloud-init"
USER_MODE_ARGUMENTS = "network-config=disabled"
"""The kernel arguments on QEMU's user networking: cloud-init's own switch, by which ec2-interface decides, too."""

PROGRAM = f"""\
#!/bin/bash
# Configures a network interface from the instance metadata: all its addresses, the subnet as its only link, and replies
# through the interface that received the request.
#
#   ec2-interface plugged                udev has added the interface $INTERFACE
#   ec2-interface unplugged              udev has removed it
#   ec2-interface configure INTERFACE    DHCP has finished, or the metadata may have changed
PATH=/usr/sbin:/usr/bin:/sbin:/bin
STANZAS={STANZAS}
FIRST_TABLE=10000

# On user networking, cloud-init's network configuration is disabled.
in_user_mode() {{
    [[ " $(</proc/cmdline) " == *' {USER_MODE_ARGUMENTS} '* ]]
}}

plugged() {{
    # At boot, networking.service brings it up; once that has begun (with lo), ifupdown's own udev rule does.
    local class=auto
    grep -qs '^lo=' /run/network/ifstate && class=allow-hotplug
    if ! in_user_mode && ! is_left_to_us; then
        rm -f "$STANZAS/$INTERFACE"
        return
    fi
    mkdir -p "$STANZAS"
    echo "$class $INTERFACE" >"$STANZAS/$INTERFACE"
    is_from_cloud_init "$INTERFACE" || echo "iface $INTERFACE inet dhcp" >>"$STANZAS/$INTERFACE"
}}

# In VPCs, cloud-init configures the interfaces at boot, and with `updates: network: when: [hotplug]` also later ones.
is_left_to_us() {{
    [ "$class" = allow-hotplug ] && ! [ -e {CLOUD_INIT_RULES} ]
}}

# Whether cloud-init has written the stanza of an interface, which has all of its addresses.
is_from_cloud_init() {{
    ! in_user_mode && grep -qsx "iface $1 inet dhcp" {CLOUD_INIT_STANZAS}
}}

unplugged() {{
    local memory=/run/network/table.$INTERFACE
    if [ -e "$memory" ]; then
        forget_rules "$(<"$memory")"
        rm "$memory"
    fi
    # Keep the stanza, which ifdown reads. systemd calls ifdown only for interfaces that were added while it ran.
    # Delete the leases: dhclient would confirm their IPv6 address for the next interface with this name.
    systemd-run --no-block --collect --quiet \\
        sh -c 'ifdown --force "$0"; rm -f /var/lib/dhcp/dhclient*."$0".leases' "$INTERFACE"
}}

forget_rules() {{
    local family
    for family in -4 -6; do
        while ip "$family" rule del table "$1" 2>/dev/null; do :; done
    done
}}

# METHOD PATH HEADER: sends a request over the open connection; the body of the response is in $REPLY.
ask() {{
    local status name value length=0
    printf '%s /latest/%s HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\n%s\\r\\n\\r\\n' "$@" >&"$service"
    read -r _ status _ <&"$service" || return
    while read -r name value <&"$service" && [ "$name" != $'\\r' ]; do
        [ "${{name,,}}" = content-length: ] && length=${{value%$'\\r'}}
    done
    REPLY=
    [ "$length" = 0 ] || read -r -N "$length" REPLY <&"$service"
    [ "$status" = 200 ]
}}

fact() {{
    ask GET "meta-data/network/interfaces/macs/$mac/$1" "X-aws-ec2-metadata-token: $token"
}}

configure() {{
    local interface=$1 service mac
    # In VPCs, DHCP configures a single interface completely.
    in_user_mode || [ "$(echo /sys/class/net/*/device)" != "/sys/class/net/$interface/device" ] || return 0
    local token number subnet prefix first gateway table address wanted changes leased
    read -r mac <"/sys/class/net/$interface/address" || return 0
    {{ exec {{service}}<>/dev/tcp/169.254.169.254/80; }} 2>/dev/null || return 0
    ask PUT api/token 'X-aws-ec2-metadata-token-ttl-seconds: 60' && token=$REPLY || return 0
    fact device-number && number=$REPLY || return 0
    [ "$number" != 0 ] || in_user_mode || return 0
    fact subnet-ipv4-cidr-block && subnet=$REPLY || return 0
    fact local-ipv4s && addresses=($REPLY) || return 0
    fact ipv6s && ipv6s=($REPLY) || ipv6s=()
    exec {{service}}>&-
    first=${{subnet%/*}}
    prefix=${{subnet#*/}}
    gateway=${{first%.*}}.$((${{first##*.}} + 1))
    addresses=("${{addresses[@]/%//$prefix}}")
    # Keep the primary address as leased: if cloud-init's hot-plug does not find it, it takes the interface down.
    leased=$(ip -o -4 addr show dev "$interface" scope global | grep -om 1 " ${{addresses[0]%/*}}/[0-9]*")
    [ "$number" = 0 ] && [ "$leased" ] && addresses[0]=${{leased# }}
    wanted=" ${{addresses[*]}} ${{ipv6s[*]/%//128}} "
    table=$((FIRST_TABLE + number))
    [ "$number" = 0 ] || {{ echo "$table" >"/run/network/table.$interface"; forget_rules "$table"; }}
    changes "$interface" | ip -force -batch - 2>/dev/null
    [ "$number" = 0 ] || ipv6_changes "$interface" | ip -6 -force -batch - 2>/dev/null
    return 0
}}

# Prints the commands for ip, using the variables of configure.
changes() {{
    local primary=${{addresses[0]%/*}}
    is_from_cloud_init "$interface" || main_table
    [ "$number" != 0 ] || return
    echo "route replace $subnet dev $interface src $primary table $table"
    echo "route replace default via $gateway dev $interface table $table"
    printf "rule add from %s lookup $table priority $table\\n" "${{addresses[@]%/*}}"
}}

main_table() {{
    local address
    printf "addr replace %s dev $interface noprefixroute\\n" "${{addresses[@]}}"
    [ "${{#ipv6s[@]}}" = 0 ] || printf "addr replace %s/128 dev $interface nodad\\n" "${{ipv6s[@]}}"
    # Remove other addresses: the wide network of a secondary interface, and addresses that were unassigned.
    ip -o addr show dev "$interface" scope global | while read -r _ _ _ address _; do
        [[ $wanted == *" $address "* ]] || echo "addr del $address dev $interface"
    done
    if [ "$number" = 0 ]; then
        echo "route flush dev $interface proto kernel scope link"
        echo "route replace $subnet dev $interface src $primary"
        echo "route replace default via $gateway dev $interface"
        return
    fi
    # Traffic leaves through the primary interface, except for replies from addresses of this one.
    echo "route del default dev $interface"
    echo "route replace $subnet dev $interface src $primary metric $table"
}}

# Like changes, for IPv6 of a secondary interface. Every interface uses the router that the primary one learned.
ipv6_changes() {{
    local router
    echo 0 >"/proc/sys/net/ipv6/conf/$interface/accept_ra_defrtr"
    router=$(ip -6 route show default | grep -om 1 'via [^ ]*')
    echo "route del default dev $interface"
    [ "$router" ] && echo "route replace default $router dev $interface table $table"
    [ "${{#ipv6s[@]}}" = 0 ] || printf "rule add from %s lookup $table priority $table\\n" "${{ipv6s[@]}}"
}}

case $1 in
    plugged|unplugged) "$1" ;;
    configure) configure "$2" ;;
    *) echo "usage: ec2-interface plugged|unplugged|configure INTERFACE" >&2; exit 2 ;;
esac
"""

UDEV_RULES = f"""\
SUBSYSTEM=="net", SUBSYSTEMS=="pci", ACTION=="add", RUN+="/{PROGRAM_PATH} plugged"
SUBSYSTEM=="net", ACTION=="remove", RUN+="/{PROGRAM_PATH} unplugged"
"""

INTERFACES = f"""\
source-directory {STANZAS}
"""

DHCLIENT_HOOK = f"""\
case "$reason" in
    BOUND|RENEW|REBIND|REBOOT) /{PROGRAM_PATH} configure "$interface" ;;
esac
"""
