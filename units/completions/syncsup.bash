# shellcheck shell=bash
# Completion of syncsup (and of sersync, its other name) for bash. It needs no package bash-completion.

# Names from the status of the running instances that match, one per line. A localpath has a slash, a remote a colon, a
# plugin neither.
_syncsup_names() {
    "$1" status --json 2>/dev/null | grep -o '"\(name\|watch\)":"[^"\\]*"' | cut -d '"' -f 4 | grep -x -- "$2" | sort -u
}

_syncsup() {
    local IFS=$' \t\n'
    local program=${COMP_WORDS[0]} line=${COMP_LINE:0:COMP_POINT} commands globals options word i
    local command="" action="" prev="" cur
    # Split at blanks only: bash itself splits 10.0.0.2::www at its colons.
    local -a words
    read -ra words <<<"$line"
    [[ $line != *[[:space:]] ]] || words+=("")
    cur=${words[-1]-}
    commands="run check convert schema status stop reload sync release wait verify journal undelete migrate demo help"
    globals="-o --state-dir --run-dir --user --no-sysctl -v --verbose -h --help -V --version"
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        case $word in
        -o | -n | -m | -[dr]*[onm] | --state-dir | --run-dir | --user | --http | --max-lag | --log-format | --quorum | --remote | --plugin | --timeout | --at)
            # The value of an option is not a command.
            ((i + 1 == ${#words[@]} - 1)) && prev=$word
            ((i++))
            ;;
        -*) ;;
        *) if [[ -z $command ]]; then command=$word; elif [[ -z $action ]]; then action=$word; fi ;;
        esac
    done

    COMPREPLY=()
    case $prev in
    # Nothing here: readline itself completes file names.
    -o | -[dr]*o | --state-dir | --run-dir) return ;;
    -m | -[dr]*m) options="command socket http refreshCDN" ;;
    --user) options=$(compgen -u) ;;
    --http) options="127.0.0.1:8008" ;;
    --max-lag) options="30s 60s 5m" ;;
    --log-format) options="text json" ;;
    --timeout) options="10s 60s 5m" ;;
    --remote) options=$(_syncsup_names "$program" '[^/].*:.*') ;;
    --plugin) options=$(_syncsup_names "$program" '[^:/]*') ;;
    -n | -[dr]*n | --quorum | --at) options="" ;;
    *)
        case ${command:-run} in
        run) options="-d -r -n -m --http --max-lag --log-format" ;;
        check) options="--connect" ;;
        status) options="--json --watch --problems --processes -m" ;;
        stop | reload) options="-m" ;;
        release) options="--show -m" ;;
        wait) options="--all --quorum --remote --timeout" ;;
        verify) options="--remote --checksum --repair --json -0" ;;
        journal) options="--remote --plugin --json --yes" ;;
        migrate) options="--dry-run" ;;
        undelete) options="--remote --at --last --force" ;;
        *) options="" ;;
        esac
        if [[ $cur == -* ]]; then
            options="$options $globals"
        else
            case $command in
            "") options=$commands ;;
            status | sync | release) options=$(_syncsup_names "$program" '.*[:/].*') ;;
            journal) if [[ -z $action ]]; then options="list retry drop import prune"; else return; fi ;;
            # File names.
            *) return ;;
            esac
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    # bash replaces only the part after the last colon.
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
    fi
}

complete -o default -F _syncsup syncsup sersync
