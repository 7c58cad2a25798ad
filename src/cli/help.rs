//! `syncsup --help`, in English and in Chinese.

use crate::language::Language;

/// The help text.
pub fn text(language: Language) -> &'static str {
    language.pick((ENGLISH, CHINESE))
}

const ENGLISH: &str = "\
syncsup keeps directories on this machine identical on many others, in real time:
it watches with inotify and pushes with rsync. It reads sersync's confxml.xml and
takes sersync's options.

Usage:
  syncsup [-d] [-r] [-n N] [-o FILE]...     replicate, as sersync does
  syncsup COMMAND [OPTION]...
  syncsup -dro /etc/confxml.xml             as a daemon, after a full reconcile

Commands:
  run              replicate; the same as no command
  check            show what the configuration means, or all its errors
  convert          print a confxml.xml as YAML
  schema           print the JSON Schema of the YAML configuration, for editors
  status [NAME]... show every localpath, remote and process, or only those named
  stop             let running pushes finish, then stop the instance
  reload           read the configuration again and apply what changed
  sync [NAME]...   reconcile now, and show progress until done (NAME: a localpath or a remote)
  release NAME     let a remote delete what the guard holds, or accept a replaced localpath
  wait [PATH]...   return when all changes made so far, at PATH or anywhere, are on the remotes
  verify [PATH]    compare a localpath, or PATH in it, with its remotes and show what differs
  journal [list|retry|drop] [PATH]...
                   show the paths that could not be pushed and the plugin calls that failed;
                   retry them now, or drop them
  journal prune [NAME]...
                   list the journals of localpaths that are no longer configured; remove those
                   named, or all with --yes
  migrate [PATH]...
                   find sersync on this machine, and write the YAML and the systemd unit that
                   replace it beside its files; nothing else is changed
  journal import FILE
                   import the rsync_fail_log.sh that sersync left
  undelete PATH    show the versions of PATH in a remote's trash (absolute, or from the root of
                   the localpath); with --last or --at TIME, restore one here
  help [TOPIC]     print this, or what to do about a message that names this topic
  demo             show all of this with private rsync daemons, in less than a minute

Options of run:
  -d               run as a daemon; returns when every localpath is watched
  -r               reconcile everything at the start
  -n N             run at most N rsyncs at a time (default: cores x 2 + 2, at least 10)
  -m PLUGIN        watch and call only this plugin (command, socket, http, refreshCDN); no push;
                   with status, stop, reload and release: act on that instance
  --http ADDRESS   serve status, metrics and health at http://ADDRESS/, such as 127.0.0.1:8008
  --max-lag TIME   /healthz fails when a remote lags by more than this (default: 60s)
  --log-format F   log as text, or as json: one object per line, for programs
Options of other commands:
  --connect        check: also connect to every remote
  --json           status, verify, journal list: print JSON, for programs
  --problems       status: only what needs a look; one line when all is well
  --processes      status: also more than 10 processes
  --watch          status: refresh every second, until q or Ctrl-C
  --all            wait: on all remotes (the default)
  --quorum N       wait: on N remotes of each localpath
  --remote NAME    wait, verify, journal: only this remote; may be repeated
  --plugin NAME    journal: only this plugin, named as in status (http, command-2); may be repeated
  --timeout TIME   wait: at most this long, such as 500ms, 30s, 5m (default: 60s)
  --checksum       verify: also compare content
  --repair         verify: push what differs
  -0               verify: print only the names, each followed by a NUL
  --show           release: only list what would be deleted
  --yes            journal prune: remove every listed journal
  --dry-run        migrate: only show what would be written
  --remote NAME    undelete: use the trash of this remote (default: the only remote with a trash)
  --at TIME        undelete: restore the version of this time, or the last whose time begins so
  --last           undelete: restore the last version of each file
  --force          undelete: overwrite what is there
Options of all commands:
  -o FILE          a configuration file, or a directory of them; may be repeated
                   (default: ./confxml.xml, /etc/syncsup/conf.d, /etc/syncsup/syncsup.yaml)
  --state-dir DIR  journals and the daemon's log (default: /var/lib/syncsup; for users other
                   than root $XDG_STATE_HOME/syncsup or ~/.local/state/syncsup)
  --run-dir DIR    sockets and pid files (default: /run/syncsup; for users other than root
                   $XDG_RUNTIME_DIR/syncsup or /tmp/syncsup-UID)
  --user NAME      run, check: the user that an instance of root becomes, see syncsup.yaml(5)
  --no-sysctl      run: do not raise the kernel's inotify limits (root raises them by default)
  -v, --verbose    log every path and every rsync
  -h, --help       this text; in Chinese under a zh locale, as status
  -V, --version    the version

Files:
  /etc/syncsup/syncsup.yaml, /etc/syncsup/conf.d/   configuration, see syncsup.yaml(5)
  STATE/syncsup.log                                 the log of a daemon
  STATE/NAME-HASH/journal.db                        what each remote of a localpath still lacks
  RUN/NAME-HASH.pid                                 the pid of the daemon

Exit status:
  0  done; for status and sync: everything is in sync; for wait: settled;
     for verify: identical
  1  the answer is no: behind, held, failed, not in time, different
  2  the command line or the configuration is wrong; nothing was started
  3  no supervisor runs
  4  another supervisor already replicates this localpath
  5  the system refused something
";

const CHINESE: &str = "\
syncsup 把本机目录实时同步到多台机器：用 inotify 监视变化，用 rsync 推送。
它直接读取 sersync 的 confxml.xml，并接受 sersync 的命令行选项。

用法：
  syncsup [-d] [-r] [-n N] [-o 文件]...     开始同步，与 sersync 相同
  syncsup 命令 [选项]...
  syncsup -dro /etc/confxml.xml             以守护进程运行，启动时先做一次全量比对

命令：
  run              开始同步；不写命令时即为此命令
  check            显示配置的含义；配置有误时一次列出全部错误
  convert          把 confxml.xml 转换为 YAML 输出
  schema           输出 YAML 配置的 JSON Schema，供编辑器使用
  status [名称]... 显示每个本地目录（localpath）、远端（remote）和进程的状态，或只显示给出名称的
  stop             等正在进行的推送完成，然后停止
  reload           重新读取配置，只影响有改动的部分
  sync [名称]...   立即比对并显示进度直到完成（名称：本地目录或远端）
  release 名称     放行被删除保护拦下的删除，或接受已被替换的本地目录
  wait [路径]...   等到此前的全部改动（或给定路径下的改动）都已到达远端后才返回
  verify [路径]    比对一个本地目录（或其中的某个路径），列出不同之处
  journal [list|retry|drop] [路径]...
                   列出推送失败的路径和失败的插件调用，立即重试，或不再记录
  journal prune [名称]...
                   列出已不在配置中的本地目录留下的 journal；给出名称则删除它们，加上 --yes 则全部删除
  migrate [路径]...
                   查找本机的 sersync，在其文件旁写出替代它的 YAML 配置和 systemd 单元，其他一概不动
  journal import 文件
                   接管 sersync 留下的 rsync_fail_log.sh
  undelete 路径    列出远端回收目录中该路径的各个版本（绝对路径，或相对于本地目录的根）；
                   加上 --last 或 --at 时间 则恢复到本机
  help [主题]      显示本帮助；给出主题（见消息末尾的 syncsup help 主题）则显示该消息的处理办法
  demo             用本机临时的 rsync 守护进程现场演示，不到一分钟

run 的选项：
  -d               以守护进程运行；所有本地目录都已开始监视后才返回
  -r               启动时做一次全量比对
  -n N             最多同时运行 N 个 rsync（默认：CPU 核数 x 2 + 2，且不少于 10）
  -m 插件          只监视目录并调用该插件（command、socket、http、refreshCDN），不推送；
                   与 status、stop、reload、release 同用时，指的是这样启动的实例
  --http 地址      在 http://地址/ 提供状态页、监控指标和健康检查，例如 127.0.0.1:8008
  --max-lag 时间   任一远端落后超过该时间时 /healthz 报告失败（默认 60s）
  --log-format 格式  日志格式：text，或 json（每行一个对象，供程序读取）
其他命令的选项：
  --connect        用于 check：同时尝试连接每个远端
  --json           用于 status、verify、journal list：输出 JSON，供程序读取
  --problems       用于 status：只显示需要关注的内容；一切正常时只有一行
  --processes      用于 status：进程超过 10 个时也显示
  --watch          用于 status：每秒刷新一次，按 q 或 Ctrl-C 结束
  --all            用于 wait：所有远端都要到达（默认）
  --quorum N       用于 wait：每个本地目录有 N 个远端到达即可
  --remote 名称    用于 wait、verify、journal：只针对这个远端；可以多次给出
  --plugin 名称    用于 journal：只针对这个插件（名称同 status 所示，如 http、command-2）；可以多次给出
  --timeout 时间   用于 wait：最多等多久，如 500ms、30s、5m（默认 60s）
  --checksum       用于 verify：同时比较文件内容
  --repair         用于 verify：把不同之处重新推送
  -0               用于 verify：只输出名称，每个后面跟一个 NUL
  --show           用于 release：只列出将被删除的内容
  --yes            用于 journal prune：删除列出的全部 journal
  --dry-run        用于 migrate：只显示将要写出的内容
  --remote 名称    用于 undelete：使用哪个远端的回收目录（默认：唯一设有回收目录的远端）
  --at 时间        用于 undelete：恢复该时间的版本，或以此开头的时间中最后的版本
  --last           用于 undelete：恢复每个文件的最后一个版本
  --force          用于 undelete：覆盖现有的文件
所有命令通用的选项：
  -o 文件          配置文件，或存放配置文件的目录；可以多次给出
                   （默认依次为 ./confxml.xml、/etc/syncsup/conf.d、/etc/syncsup/syncsup.yaml）
  --state-dir 目录 journal 和守护进程日志的目录（默认 /var/lib/syncsup；
                   非 root 用户为 $XDG_STATE_HOME/syncsup 或 ~/.local/state/syncsup）
  --run-dir 目录   套接字和 pid 文件的目录（默认 /run/syncsup；
                   非 root 用户为 $XDG_RUNTIME_DIR/syncsup 或 /tmp/syncsup-UID）
  --user 用户      用于 run、check：由 root 启动的实例所切换到的用户，见 syncsup.yaml(5)
  --no-sysctl      用于 run：不改动内核的 inotify 限制（否则 root 会将其调高）
  -v, --verbose    在日志中记录每个路径和每次 rsync
  -h, --help       显示本帮助；在 zh 语言环境下为中文
  -V, --version    显示版本

文件：
  /etc/syncsup/syncsup.yaml、/etc/syncsup/conf.d/   配置，见 syncsup.yaml(5)
  STATE/syncsup.log                                 守护进程的日志
  STATE/名称-哈希/journal.db                        记录该本地目录的每个远端还缺什么
  RUN/名称-哈希.pid                                 守护进程的进程号

退出状态：
  0  成功；对 status 和 sync：全部已同步；对 wait：都已到达；对 verify：完全一致
  1  结果为否：落后、被暂停、失败、超时或不一致
  2  命令行或配置有误，没有启动任何东西
  3  没有正在运行的 syncsup
  4  另一个 syncsup 已在负责该本地目录
  5  系统拒绝了某项操作
";
