# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Contributors to virtfleet.cloud
# shellcheck shell=bash
# Sourced by ./up, ./down and ./test: options, messages, and what this machine needs to run the playbooks.

set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
lab_name=virtfleet-lab
lab_subnet=10.89.40.0/24
lab_suite=${LAB_SUITE:-trixie}
lab_virtualization_nodes=2
lab_databases=1
lab_mirror=""
lab_proxy=""
lab_inventory=""
lab_ca_certificates=()
packages=(podman runc crun netavark aardvark-dns iptables nftables mmdebstrap openssh-client rsync python3-venv
    util-linux fdisk e2fsprogs extlinux syslinux-common ca-certificates)
needed_gib=15

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

usage() {
    cat <<EOF
usage: $(basename "$0") [options]
  --name NAME        the lab's name, prefix of its containers ($lab_name)
  --subnet CIDR      its network, a /24 ($lab_subnet)
  --suite SUITE      Debian release of the hosts, trixie or bookworm ($lab_suite; also by LAB_SUITE)
  --virtualization-nodes N
                     how many of its three nodes run virtual machines, 1 to 3 ($lab_virtualization_nodes)
  --databases N      how many hosts have the registry's database, 1 or 3 ($lab_databases)
  --inventory DIR    where its inventory is written (inventories/lab, or inventories/lab-NAME for another name)
  --mirror URL       Debian mirror (the one that this machine uses)
  --proxy URL        HTTP proxy for packages
  --ca FILE          certificate that hosts are to trust (may be given more than once)
EOF
}

parse_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help) usage && exit 0 ;;
            --name | --subnet | --suite | --virtualization-nodes | --databases | --inventory | --mirror | --proxy | --ca)
                [ $# -ge 2 ] || die "$1 needs a value"
                ;;&
            --name) lab_name=$2 ;;
            --subnet) lab_subnet=$2 ;;
            --suite) lab_suite=$2 ;;
            --virtualization-nodes) lab_virtualization_nodes=$2 ;;
            --databases) lab_databases=$2 ;;
            --inventory) lab_inventory=$(realpath -m "$2") ;;
            --mirror) lab_mirror=$2 ;;
            --proxy) lab_proxy=$2 ;;
            --ca) lab_ca_certificates+=("$(realpath "$2")") ;;
            *) usage >&2 && die "unknown option $1" ;;
        esac
        shift 2
    done
    if [ -z "$lab_inventory" ]; then
        lab_inventory=$repository/inventories/lab
        [ "$lab_name" = virtfleet-lab ] || lab_inventory=$repository/inventories/lab-$lab_name
    fi
    lab_dir=$repository/.cache/$lab_name
    [ -n "$lab_mirror" ] || lab_mirror=$(machine_mirror)
}

# The Debian mirror among the package sources of this machine.
machine_mirror() {
    apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 2>/dev/null | grep -m 1 -E '/debian/?$' | sed 's|/$||' ||
        die "no package source of this machine is a Debian mirror; name one with --mirror URL"
}

json_string() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# The same settings for every playbook of the lab, as JSON.
lab_settings() {
    local certificates="" file
    for file in "${lab_ca_certificates[@]+"${lab_ca_certificates[@]}"}"; do
        certificates+=${certificates:+,}$(json_string "$file")
    done
    printf '{"lab_name":%s,"lab_subnet":%s,"lab_suite":%s,"lab_virtualization_nodes":%s,"lab_databases":%s,"lab_apt_mirror":%s,"lab_apt_proxy":%s,"lab_inventory_dir":%s,"lab_ca_certificates":[%s]}' \
        "$(json_string "$lab_name")" "$(json_string "$lab_subnet")" "$(json_string "$lab_suite")" "$(json_string "$lab_virtualization_nodes")" "$(json_string "$lab_databases")" "$(json_string "$lab_mirror")" \
        "$(json_string "$lab_proxy")" "$(json_string "$lab_inventory")" "$certificates"
}

check_root() {
    [ "$(id -u)" -eq 0 ] || die "run this as root: the lab's hosts are privileged containers with loop devices (sudo $0)"
    command -v apt-get >/dev/null || die "this is made for Debian: apt-get is not there"
}

# Only a lab that is yet to be made needs room and the mirror.
check_room_and_mirror() {
    local free_gib check
    [ -e "$lab_dir/customize.sh" ] && return 0
    free_gib=$(($(stat --file-system --format '%a * %S' "$repository") / 1024 / 1024 / 1024))
    [ "$free_gib" -ge "$needed_gib" ] || die "the lab needs $needed_gib GiB of disk below $repository, $free_gib GiB are free"
    check=$(mktemp -d)
    if ! /usr/lib/apt/apt-helper ${lab_proxy:+-o Acquire::http::Proxy="$lab_proxy"} -o Acquire::Retries=2 -o Acquire::http::Timeout=20 \
        -o APT::Sandbox::User=root download-file "$lab_mirror/dists/$lab_suite/InRelease" "$check/InRelease" >"$check/log" 2>&1; then
        cat "$check/log" >&2
        rm -r "$check"
        die "the Debian mirror does not answer: $lab_mirror/dists/$lab_suite/InRelease (another one: --mirror URL, a proxy: --proxy URL)"
    fi
    rm -r "$check"
}

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        [ "$(dpkg-query --show --showformat '${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    printf 'installing %s\n' "${missing[*]}"
    # a foreign package source that does not answer is no reason to stop here: the installation below says what is missing
    apt-get -qq update || printf 'warning: apt-get update had errors\n' >&2
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends "${missing[@]}" >/dev/null \
        || die "packages could not be installed: ${missing[*]}"
}

# Make .venv with the packages of a requirements file; quick when they are there already.
make_venv() {
    local requirements=$1 stamp wanted
    stamp=$repository/.venv/$requirements.stamp
    wanted=$(cat "$repository"/requirements*.txt | sha256sum)
    if [ ! -x "$repository/.venv/bin/ansible-playbook" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        printf 'making .venv\n'
        /usr/bin/python3 -m venv "$repository/.venv"
        "$repository/.venv/bin/pip" install --quiet --disable-pip-version-check -r "$repository/$requirements" \
            || die "the Python packages of $requirements could not be installed (see pip's message above)"
        printf '%s\n' "$wanted" >"$stamp"
    fi
    export PATH=$repository/.venv/bin:$PATH
}

# Run a playbook of this repository with its own settings, wherever the caller stands.
play() {
    (cd "$repository" && ANSIBLE_CONFIG=$repository/ansible.cfg ansible-playbook "$@")
}
