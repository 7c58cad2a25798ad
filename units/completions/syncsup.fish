# Completion of syncsup (and of sersync, its other name) for fish.

# Names from the status of the running instances that match. A localpath has a slash, a remote a colon, a plugin neither.
function __syncsup_names
    syncsup status --json 2>/dev/null | string match -ar '"(?:name|watch)":"([^"\\\\]*)"' -g | string match -r '^'$argv[1]'$' | sort -u
end

for name in syncsup sersync
    set -l commands run check convert schema status stop reload sync release wait verify journal undelete migrate demo help
    set -l none "not __fish_seen_subcommand_from $commands"
    complete -c $name -e
    complete -c $name -f -n $none -a run -d 'replicate; the same as no command'
    complete -c $name -f -n $none -a check -d 'show what the configuration means, or all its errors'
    complete -c $name -f -n $none -a convert -d 'print a confxml.xml as YAML'
    complete -c $name -f -n $none -a schema -d 'print the JSON Schema of the YAML'
    complete -c $name -f -n $none -a status -d 'show every localpath and remote'
    complete -c $name -f -n $none -a stop -d 'let running pushes finish, then stop the instance'
    complete -c $name -f -n $none -a reload -d 'read the configuration again and apply what changed'
    complete -c $name -f -n $none -a sync -d 'reconcile now, and show progress until done'
    complete -c $name -f -n $none -a release -d 'resume a held remote, or accept a replaced localpath as it is now'
    complete -c $name -f -n $none -a wait -d 'return when all changes made so far are on the remotes'
    complete -c $name -f -n $none -a verify -d 'compare with the remotes, and show what differs'
    complete -c $name -f -n $none -a journal -d 'show what failed; retry, drop, import or prune it'
    complete -c $name -f -n $none -a undelete -d 'show the versions in the trash of a remote, or restore one'
    complete -c $name -f -n $none -a migrate -d 'write the YAML and the systemd unit that replace sersync'
    complete -c $name -f -n $none -a demo -d 'show all of this, in less than a minute'
    complete -c $name -f -n $none -a help -d 'print what to do about a message'

    complete -c $name -s o -r -F -d 'configuration file, or a directory of them'
    complete -c $name -l state-dir -r -F -d 'journals and log of the daemon'
    complete -c $name -l run-dir -r -F -d 'sockets and pid files'
    complete -c $name -l user -x -a '(__fish_complete_users)' -d 'the user that an instance of root becomes'
    complete -c $name -l no-sysctl -d 'do not raise the inotify limits of the kernel'
    complete -c $name -s v -l verbose -d 'log every path and every rsync'
    complete -c $name -s h -l help -d help
    complete -c $name -s V -l version -d version

    set -l run "$none; or __fish_seen_subcommand_from run"
    complete -c $name -n $run -s d -d 'run as a daemon; return when everything is watched'
    complete -c $name -n $run -s r -d 'reconcile everything at the start'
    complete -c $name -n $run -s n -x -d 'run at most this many rsyncs at a time'
    complete -c $name -n $run -l http -x -a 127.0.0.1:8008 -d 'serve status, metrics and health there'
    complete -c $name -n $run -l max-lag -x -a '30s 60s 5m' -d '/healthz fails when a remote lags by more than this'
    complete -c $name -n $run -l log-format -x -a 'text json' -d 'how to log: for people, or one object per line'
    complete -c $name -n "$none; or __fish_seen_subcommand_from run status stop reload release" -s m -x \
        -a 'command socket http refreshCDN' -d 'only this plugin'

    complete -c $name -n '__fish_seen_subcommand_from check' -l connect -d 'also connect to every remote'
    complete -c $name -n '__fish_seen_subcommand_from status verify journal' -l json -d 'print JSON, for programs'
    complete -c $name -n '__fish_seen_subcommand_from status' -l watch -d 'refresh every second, until q or Ctrl-C'
    complete -c $name -n '__fish_seen_subcommand_from status' -l problems -d 'only what needs a look'
    complete -c $name -n '__fish_seen_subcommand_from status' -l processes -d 'also more than 10 processes'
    complete -c $name -n '__fish_seen_subcommand_from status sync release' -f -a '(__syncsup_names ".*[:/].*")'
    complete -c $name -n '__fish_seen_subcommand_from release' -l show -d 'only list what would be deleted'
    complete -c $name -n '__fish_seen_subcommand_from wait' -l all -d 'on all remotes'
    complete -c $name -n '__fish_seen_subcommand_from wait' -l quorum -x -d 'on this number of remotes of each localpath'
    complete -c $name -n '__fish_seen_subcommand_from wait' -l timeout -x -a '10s 60s 5m' -d 'how long to wait'
    complete -c $name -n '__fish_seen_subcommand_from wait verify journal undelete' -l remote -x \
        -a '(__syncsup_names "[^/].*:.*")' -d 'only this remote'
    complete -c $name -n '__fish_seen_subcommand_from journal' -l plugin -x \
        -a '(__syncsup_names "[^:/]*")' -d 'only this plugin'
    complete -c $name -n '__fish_seen_subcommand_from verify' -l checksum -d 'also compare content'
    complete -c $name -n '__fish_seen_subcommand_from verify' -l repair -d 'push what differs'
    complete -c $name -n '__fish_seen_subcommand_from verify' -s 0 -d 'print only the names, each followed by a NUL'
    complete -c $name -n '__fish_seen_subcommand_from journal; and not __fish_seen_subcommand_from list retry drop import prune' \
        -f -a 'list retry drop import prune'
    complete -c $name -n '__fish_seen_subcommand_from journal; and __fish_seen_subcommand_from prune' \
        -l yes -d 'remove every listed journal'
    complete -c $name -n '__fish_seen_subcommand_from migrate' -l dry-run -d 'only show what would be written'
    complete -c $name -n '__fish_seen_subcommand_from undelete' -l at -x -d 'restore the version of this time'
    complete -c $name -n '__fish_seen_subcommand_from undelete' -l last -d 'restore the last version of each file'
    complete -c $name -n '__fish_seen_subcommand_from undelete' -l force -d 'overwrite what is there'
end
