# shellcheck shell=bash
# The same plan with other tools: the same snapshot before, the same edited files, ratios. Each end
# state is compared with ours. The plays are in proof/bench/peers. Sourced by scripts/bench.

programs=${LAB_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/docker-lxc-gate}/peers
plays=$PWD/proof/bench/peers

# Without hashes: they would need a lock of 34 packages with the wheels of each platform, 874 lines.
install_peers() {
    python -m venv "$programs"
    "$programs/bin/python" -m pip install --quiet --only-binary :all: \
        pyinfra==3.10.0 ansible-core==2.19.14 pytest-testinfra==10.2.2 paramiko==4.0.0
}

typed() { cat "$plays"/{typed,restart,docker}.sh | on_node bash; }
deploy() {
    cd "$work" || return
    "$programs/bin/pyinfra" --data "ssh_config_file=$work/ssh_config" --data "folder=$work" \
        @ssh/node "$plays/deploy.py" "$@"
}
play() {
    cd "$work" || return
    ANSIBLE_PIPELINING=True ANSIBLE_HOME=$work/ansible "$programs/bin/ansible-playbook" -i node, \
        --ssh-common-args="-F $work/ssh_config" -e "folder=$work" \
        -e ansible_python_interpreter=/usr/bin/python3 "$plays/play.yml" "$@"
}
testinfra() {  # without this project's settings and conftest.py
    "$programs/bin/pytest" -c /dev/null --rootdir "$plays" --noconftest -q -p no:cacheprovider \
        --hosts=paramiko://node --ssh-config="$work/ssh_config" "$plays/test_state.py"
}

# prepare_edited: takes what the tools are given. prepare_tool NAME: resets to what they start from.
# A restore cuts the connections that ansible's ssh would still use.
prepare_edited() {
    reset bench-docker
    apply
    take
    on_node sh <"$plays/look.sh" >"$work/look"
}
prepare_tool() {
    reset bench-docker
    [[ $1 != shell ]] || give
    rm -rf "$work/ansible/cp"
}

measure_peers() {
    local runs=$times verb tool
    runs=1 stage 'peers: the snapshot to start from' 'python -m proof.bench.lab start' || return
    python -m proof.bench.lab ssh-config >"$work/ssh_config"
    runs=1 stage 'peers: edited files' prepare_edited || return
    runs=1 stage 'peers: installation' install_peers
    measure_tool ours apply 'nothing_to_do apply --yes' 'nothing_to_do plan' 'nothing_to_do status'
    measure_tool shell typed
    measure_tool pyinfra 'deploy -y' 'deploy -y' 'deploy --dry --diff' 'deploy --dry'
    measure_tool ansible-core play play 'play --check --diff' 'play --check'
    if runs=1 stage 'peers: our end state for the gates' 'reset bench-docker; apply'; then
        stage 'ours: read-only gate' "gate --target lab/950 -k 'not PRE-'"
        stage 'shell: read-only gate' "on_node bash <$plays/state.sh"
        stage 'testinfra: read-only gate' testinfra
    fi
    for verb in 'first apply' 'second apply' plan status 'read-only gate'; do
        for tool in shell pyinfra ansible-core testinfra; do
            ratio "$verb: ours / $tool" seconds "ours: $verb" "$tool: $verb"
        done
    done
}

# measure_tool NAME FIRST [SECOND PLAN STATUS]: times a tool's commands, and compares the end state.
measure_tool() {
    local tool=$1 verb
    stage "$tool: first apply" --prepare "prepare_tool $tool" "$2" || return
    shift 2
    for verb in 'second apply' plan status; do
        (($#)) || break
        stage "$tool: $verb" "$1"
        shift
    done
    local state=$work/$tool.state
    runs=1 stage "$tool: reading the end state" "python -m proof.bench.lab state >$state" || return
    [[ $tool == ours || ! -s $work/ours.state ]] ||
        python -m proof.bench.lab differences "$work/ours.state" "$state" |
        jq -R --arg tool "$tool" '"\($tool): \(.)"' >>"$work/notes"
}
