//! What is wrong with a command line.

use super::Message;

/// English, Chinese.
pub const MESSAGES: &[Message] = &[
    ("syncsup: cannot write to standard output: {}", "syncsup: 无法写入标准输出：{}"),
    (
        "`syncsup {}` does not take {}; see `syncsup --help`",
        "`syncsup {}` 没有 {} 这个选项；见 `syncsup --help`",
    ),
    (
        "`syncsup release` takes one NAME: the localpath or the remote that `syncsup status` shows as held",
        "`syncsup release` 需要一个名称：`syncsup status` 显示为已暂停的本地目录或远端",
    ),
    (
        "`syncsup {}` does not take `{}`; give a configuration file with -o",
        "`syncsup {}` 不接受 `{}`；配置文件请用 -o 给出",
    ),
    (
        "{}{} has an empty value; is a variable of the caller unset?",
        "{}{} 的值为空；是不是调用者的变量没有设置？",
    ),
    (
        "-n {}: not a number of rsyncs; write 1 or more",
        "-n {}: 不是 rsync 的个数；请填 1 或更大的数",
    ),
    ("; did you mean {}?", "；是不是 {}？"),
    ("-m {} is not a plugin; the plugins are {}{}", "-m {} 不是插件；可用的插件有 {}{}"),
    ("{} needs a value; see `syncsup --help`", "{} 需要一个值；见 `syncsup --help`"),
    (
        "unexpected argument for option '{}': {}; see `syncsup --help`",
        "选项 '{}' 不带值：{}；见 `syncsup --help`",
    ),
    ("{}; see `syncsup --help`", "{}；见 `syncsup --help`"),
    ("see `syncsup --help`", "见 `syncsup --help`"),
    ("did you mean --{}?", "是不是 --{}？"),
    ("unknown option {}{}; {}", "未知的选项 {}{}；{}"),
    ("did you mean `{}`?", "是不是 `{}`？"),
    ("no help on `{}`; did you mean `{}`?", "没有关于 `{}` 的帮助；是不是 `{}`？"),
    ("no help on `{}`; the topics are: {}", "没有关于 `{}` 的帮助；可用的主题有：{}"),
    ("commands: {}", "命令有：{}"),
    ("give a configuration file with -o", "配置文件请用 -o 给出"),
    ("unknown command `{}`; {}", "未知的命令 `{}`；{}"),
    (
        "--quorum {}: not a number of remotes; write 1 or more",
        "--quorum {}: 不是远端的个数；请填 1 或更大的数",
    ),
    (
        "--timeout {}: not a duration; write one such as 500ms, 30s, 5m or 1h",
        "--timeout {}: 不是时长；请写 500ms、30s、5m 或 1h 这样的值",
    ),
    ("PATH is empty; is a variable of the caller unset?", "路径为空；是不是调用者的变量没有设置？"),
    ("NAME is empty; is a variable of the caller unset?", "名称为空；是不是调用者的变量没有设置？"),
    (
        "`syncsup status` takes only one of --json and {}",
        "`syncsup status` 的 --json 和 {} 只能用一个",
    ),
    (
        "`syncsup status` takes only one of --json and --watch",
        "`syncsup status` 的 --json 和 --watch 只能用一个",
    ),
    (
        "`syncsup wait` takes only one of --all, --quorum and --remote",
        "`syncsup wait` 的 --all、--quorum 和 --remote 只能用一种",
    ),
    (
        "`syncsup verify` takes only one of --json and -0",
        "`syncsup verify` 的 --json 和 -0 只能用一个",
    ),
    (
        "`syncsup verify` takes one LOCALPATH, or none for all",
        "`syncsup verify` 只接受一个本地目录；不写则比对全部",
    ),
    (
        "`syncsup journal prune` takes --yes or NAMEs, and nothing else",
        "`syncsup journal prune` 只接受 --yes 或名称",
    ),
    ("only `syncsup journal prune` takes --yes", "只有 `syncsup journal prune` 有 --yes 这个选项"),
    ("only `syncsup journal list` takes --json", "只有 `syncsup journal list` 有 --json 这个选项"),
    (
        "`syncsup journal {}`: unknown action; the actions are list, retry, drop, prune and import FILE",
        "`syncsup journal {}`：未知的动作；可用的动作有 list、retry、drop、prune 和 import 文件",
    ),
    (
        "`syncsup journal {}`: unknown action; `syncsup journal list {}` lists what fails there",
        "`syncsup journal {}`：未知的动作；要列出该路径下推送失败的内容，请运行 `syncsup journal list {}`",
    ),
    (
        "`syncsup undelete` takes only one of --at and --last",
        "`syncsup undelete` 的 --at 和 --last 只能用一个",
    ),
    (
        "--at needs a time that `syncsup undelete PATH` shows, or the beginning of one",
        "--at 需要一个时间：`syncsup undelete 路径` 所显示的，或其开头",
    ),
    ("--force needs --last or --at TIME", "--force 需要与 --last 或 --at 时间 同用"),
    ("`syncsup undelete` takes one --remote", "`syncsup undelete` 只接受一个 --remote"),
    (
        "`syncsup undelete` takes one PATH: absolute, or from the root of the localpath",
        "`syncsup undelete` 需要一个路径：绝对路径，或相对于本地目录的根",
    ),
];
