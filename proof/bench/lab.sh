# shellcheck shell=bash
# The stages on the lab, and commands that they are made of. Sourced by scripts/bench.

gate() { python -m pytest features/ --no-report "$@"; }
reset() { python -m docker_lxc_gate lab reset "$1"; }
# reset_healthy: restores the newest snapshot of the compliant container that the faults made.
reset_healthy() {
    local name
    name=$(python -m docker_lxc_gate lab status | grep -o 'healthy-[0-9a-f]\{12\}' | tail -n 1) || {
        echo 'the lab does not run, or has no snapshot of a compliant container:' \
            'python -m proof.faults F12 makes it' >&2
        return 1
    }
    reset "$name"
}
apply() { python -m remediation apply --yes --target lab/950; }
on_node() { ssh -F "$work/ssh_config" node "$@"; }  # bench.lab ssh-config writes this file

# nothing_to_do VERB…: fails, with the ids, if it finds something to do: that is another figure.
nothing_to_do() {
    python -m remediation "$@" --json --target lab/950 | jq '
        [(if type == "array" then . else .changes // .actions end)[]
         | select(.drift or .changed == true) | .id]
        | if . == [] then . else error("something to do: " + join(", ")) end'
}

# take: copies what the plan changed on the node and Docker's settings, as an editor leaves them.
take() {
    local phoenix=usr/local/phoenix_hypervisor
    mkdir -p "$work/files"
    on_node tar -cC / etc/apparmor.d/lxc-phoenix-v2 etc/apparmor.d/tunables/nesting \
        $phoenix/etc/apparmor/lxc-phoenix-v2 $phoenix/etc/phoenix_lxc_configs.json \
        $phoenix/bin/hypervisor_setup/hypervisor_feature_setup_apparmor.sh \
        $phoenix/bin/lxc_setup/phoenix_hypervisor_feature_install_docker.sh |
        tar -xC "$work/files"
    on_node pct exec 950 -- cat /etc/docker/daemon.json >"$work/daemon.json"
}
# give: copies that to /root on the node.
give() { tar -cC "$work" files daemon.json | on_node tar -xC /root; }

# cold_up: builds and boots in a lab of its own; how long its steps take counts, too.
cold_up() {
    LAB_HOME=$work/lab python -m docker_lxc_gate lab up 2>&1 | tee "$work/steps"
    sed -nE 's/^([^"]+): ([0-9.]+) s$/{"\1": \2}/p' "$work/steps" >>"$work/seconds"
    LAB_HOME=$work/lab python -m docker_lxc_gate lab destroy --images
    rm -rf "$work/lab"
}

measure_everything() {
    local compared="gate: pytest features/ -m 'not before_the_plan' -k 'not PRE-'"
    local bare='bare: the same commands in one shell' restore='restore (median of 5)'
    [[ $cold == no ]] || stage 'cold up, all of the above' cold_up
    stage 'up, from what is there' 'python -m docker_lxc_gate lab up' || return
    python -m proof.bench.lab ssh-config >"$work/ssh_config"
    runs=5 stage "$restore" 'reset ready'
    stage 'gate: pytest features/' gate
    # The bare shell does the same as these scenarios: it rehearses no rollback, and makes and
    # reads no backups. They leave the plan applied.
    stage "$compared" "gate -m 'not before_the_plan' -k 'not PRE-'"
    stage "$bare" --setup take --prepare 'reset ready; give' 'on_node bash <proof/bench/peers/bare.sh'
    # The first run makes the snapshots.
    stage 'one fault (F12): restore, inject, ask' --warmup 1 'python -m proof.faults F12'
    measure_status
    # The shell's node was restored before its clock began, the gate restores its own.
    ratio 'ratio gate, without its restore / bare (aim: under 2)' seconds \
        "$compared" "$bare" "$restore"
}

measure_status() { stage 'status of one container' "python -m proof.bench.lab status >>$work/counts"; }

# On a lab that is up and has the faults' snapshots; nothing is built.
measure_quick() {
    stage restore reset_healthy || return
    for words in status plan 'apply --yes'; do
        stage "${words%% *}, nothing to do" "nothing_to_do $words"
    done
    measure_status
    stage 'one fault (F12): restore, inject, ask' 'python -m proof.faults F12'
}

# Commands about one container, on a node with more and more of them. The others are stopped.
measure_containers() {
    local number
    stage restore reset_healthy || return
    touch "$work/populated"  # so that the end, and Ctrl-C, reset the lab
    for number in $(tr , '\n' <<<"$numbers" | sort -n); do
        stage "$number containers: created" "python -m proof.bench.lab populate $number" || break
        runs=3 stage "$number containers: status" 'nothing_to_do status'
        runs=3 stage "$number containers: plan" 'nothing_to_do plan'
        runs=3 stage "$number containers: read-only gate" "gate --target lab/950 -k 'not PRE-1'"
    done
}
