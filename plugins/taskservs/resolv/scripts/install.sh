# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # prelude.sh and the parameters stand before this

if ! systemd_runs; then
        fail "systemd-resolved needs a server with systemd, which does not run here"
fi
conf=/etc/systemd/resolved.conf.d/prvng.conf

progress 100 "finding the name servers"
nameservers=$p_nameservers
if [ -z "$nameservers" ] && [ -e "$conf" ]; then
        nameservers=$(sed -n 's/^DNS=//p' "$conf")
fi
if [ -z "$nameservers" ]; then
        # Those of now, but not resolved's own stub.
        for file in /run/systemd/resolve/resolv.conf /etc/resolv.conf; do
                if [ -z "$nameservers" ] && [ -r "$file" ]; then
                        nameservers=$(sed -n 's/^nameserver[[:blank:]]*//p' "$file" |
                                grep -v '^127\.0\.0\.5[34]$' | tr '\n' ' ' | sed 's/ *$//')
                fi
        done
fi
if [ -z "$nameservers" ]; then
        fail "no name servers are known: set \"nameservers\", e.g. [\"192.0.2.53\"]"
fi

# Before the installation: the package turns /etc/resolv.conf over to resolved at once, and without
# this nothing could be resolved from then on, not even the package mirror.
progress 200 "configuring systemd-resolved"
changed=0
put "$conf" <<EOT
# Written by prvng (taskserv resolv): changes are lost.
[Resolve]
DNS=$nameservers
Domains=$p_search_domains
LLMNR=no
MulticastDNS=no
EOT


progress 300 "installing systemd-resolved"
packages_install systemd-resolved

progress 800 "starting systemd-resolved"
if [ "$(readlink /etc/resolv.conf)" != ../run/systemd/resolve/stub-resolv.conf ]; then
        ln -sfn ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
fi
# Also after a fresh installation, which starts it before the message bus knows its name: it would run
# and answer DNS, but not resolvectl.
if [ "$changed" = 1 ]; then
        service_restart systemd-resolved
else
        service_start systemd-resolved
fi
progress 900 "done"
version systemd-resolved "$(package_version systemd-resolved)"
result nameservers "$nameservers"
