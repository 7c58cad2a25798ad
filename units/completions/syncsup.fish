# Completion of syncsup (and of sersync, its other name) for fish.

# Names from the status of the running instances that match. A localpath has a slash, a remote a colon, a plugin neither.
function __syncsup_names
    syncsup status --json 2>/dev/null | string match -ar '"(?:name|watch)":"([^"\\\\]*)"' -g | string match -r '^'$argv[1]'$' | sort -u
end

for name in syncsup sersync
    set -l commands run check convert status stop reload sync release wait verify journal undelete migrate demo
    set -l none "not __fish_seen_subcommand_from $commands"
    complete -c $name -e
    complete -c $name -f -n $none -a run -d 'replicate; the same as no command'
    complete -c $name -f -n $none -a check -d 'show what the configuration means, or every error in it'
    complete -c $name -f -n $none -a convert -d 'print a confxml.xml as YAML'
    complete -c $name -f -n $none -a status -d 'show every localpath and remote'
    complete -c $name -f -n $none -a stop -d 'let pushes in hand finish, then end the instance'
    complete -c $name -f -n $none -a reload -d 'read the configuration again'
    complete -c $name -f -n $none -a sync -d 'compare now, and follow it until done'
    complete -c $name -f -n $none -a release -d 'let a held remote go on, or take a replaced localpath as it is'
    complete -c $name -f -n $none -a wait -d 'return when everything changed so far is on the remotes'
    complete -c $name -f -n $none -a verify -d 'compare, and show what differs'
    complete -c $name -f -n $none -a journal -d 'show what could not be pushed; retry, drop, import or prune it'
    complete -c $name -f -n $none -a undelete -d 'show what the trash of a remote holds, or restore it'
    complete -c $name -f -n $none -a migrate -d 'write what replaces a sersync'
    complete -c $name -f -n $none -a demo -d 'demonstrate all of this'

    complete -c $name -s o -r -F -d 'configuration file, or a directory of them'
    complete -c $name -l state-dir -r -F -d 'journals and log of the daemon'
    complete -c $name -l run-dir -r -F -d 'sockets and pid files'
    complete -c $name -l no-sysctl -d 'leave the inotify limits of the kernel as they are'
    complete -c $name -s v -l verbose -d 'log every path and every rsync'
    complete -c $name -s h -l help -d help
    complete -c $name -s V -l version -d version

    set -l run "$none; or __fish_seen_subcommand_from run"
    complete -c $name -n $run -s d -d 'run as a daemon; return when everything is watched'
    complete -c $name -n $run -s r -d 'compare everything at the start'
    complete -c $name -n $run -s n -x -d 'rsyncs that may push at a time'
    complete -c $name -n $run -l http -x -a 127.0.0.1:8008 -d 'show status, metrics and health there'
    complete -c $name -n $run -l max-lag -x -a '30s 60s 5m' -d '/healthz fails when a remote is further behind'
    complete -c $name -n "$none; or __fish_seen_subcommand_from run status stop reload release" -s m -x \
        -a 'command socket http refreshCDN' -d 'this plugin only'

    complete -c $name -n '__fish_seen_subcommand_from check' -l connect -d 'try every remote too'
    complete -c $name -n '__fish_seen_subcommand_from status verify journal' -l json -d 'for programs'
    complete -c $name -n '__fish_seen_subcommand_from status' -l watch -d 'again every second, until q or Ctrl-C'
    complete -c $name -n '__fish_seen_subcommand_from sync release' -f -a '(__syncsup_names ".*[:/].*")'
    complete -c $name -n '__fish_seen_subcommand_from release' -l show -d 'only list what would be deleted'
    complete -c $name -n '__fish_seen_subcommand_from wait' -l all -d 'on all remotes'
    complete -c $name -n '__fish_seen_subcommand_from wait' -l quorum -x -d 'on this number of remotes of each localpath'
    complete -c $name -n '__fish_seen_subcommand_from wait' -l timeout -x -a '10s 60s 5m' -d 'how long to wait'
    complete -c $name -n '__fish_seen_subcommand_from wait verify journal undelete' -l remote -x \
        -a '(__syncsup_names "[^/].*:.*")' -d 'this remote'
    complete -c $name -n '__fish_seen_subcommand_from journal' -l plugin -x \
        -a '(__syncsup_names "[^:/]*")' -d 'this plugin'
    complete -c $name -n '__fish_seen_subcommand_from verify' -l checksum -d 'compare content too'
    complete -c $name -n '__fish_seen_subcommand_from verify' -l repair -d 'push what differs'
    complete -c $name -n '__fish_seen_subcommand_from verify' -s 0 -d 'only the names, a NUL after each'
    complete -c $name -n '__fish_seen_subcommand_from journal; and not __fish_seen_subcommand_from list retry drop import prune' \
        -f -a 'list retry drop import prune'
    complete -c $name -n '__fish_seen_subcommand_from journal; and __fish_seen_subcommand_from prune' \
        -l yes -d 'remove every journal that is listed'
    complete -c $name -n '__fish_seen_subcommand_from migrate' -l dry-run -d 'only show what would be written'
    complete -c $name -n '__fish_seen_subcommand_from undelete' -l at -x -d 'restore the version of this time'
    complete -c $name -n '__fish_seen_subcommand_from undelete' -l last -d 'restore the last version of each file'
    complete -c $name -n '__fish_seen_subcommand_from undelete' -l force -d 'overwrite what is there'
end
