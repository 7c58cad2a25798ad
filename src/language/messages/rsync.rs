//! rsync's options, and what an rsync does.

use super::Message;

/// English, Chinese.
pub const MESSAGES: &[Message] = &[
    (
        "rsync exited with {} without printing its statistics, so its work does not count; is the program really rsync?{}",
        "rsync 以 {} 退出，却没有输出统计信息，因此它所做的不算数；这个程序真的是 rsync 吗？{}",
    ),
    ("rsync exited with status {} and printed nothing", "rsync 以状态 {} 退出，没有任何输出"),
    ("rsync was killed by {}", "rsync 被 {} 终止"),
    (
        "{}: the script of the module refuses; run `rsync HOST::MODULE` to see what it prints",
        "{}：模块的脚本拒绝了；请运行 `rsync 主机::模块`，看它输出什么",
    ),
    ("it would replicate nothing", "这样不会同步任何内容"),
    ("it is rsync's own", "这是 rsync 内部使用的"),
    ("it deletes files on the master", "它会删除主机上的文件"),
    (
        "whether anything is deleted on a remote follows `delete` of the inotify section",
        "远端上是否删除，由 inotify 部分的 `delete` 决定",
    ),
    (
        "syncsup uses it for renamed files, and rsync may skip a file that it finds there",
        "syncsup 用它处理改名的文件，而 rsync 可能跳过在那里找到的文件",
    ),
    ("a push that it stops would start over again and again", "被它中止的推送会一再从头开始"),
    (
        "every push and every reconcile would overwrite that file",
        "每次推送和每次全量比对都会覆盖那个文件",
    ),
    (
        "what a link points to is not watched, and a followed directory would arrive empty",
        "链接所指的内容没有被监视，而被跟随的目录到达远端时是空的",
    ),
    (
        "remove it, and mount the directory in the link's place with `mount --bind`, or give it a localpath of its own",
        "请去掉，并用 `mount --bind` 把该目录挂载到链接的位置，或为它单独配置一个本地目录",
    ),
    ("remotes would keep old files and count as in sync", "远端会留着旧文件，却算作已同步"),
    (
        "an interrupted transfer leaves an incomplete file under its real name",
        "传输中断时，不完整的文件会留在真正的名称下",
    ),
    (
        "files that it leaves out are not replicated, and count as in sync",
        "被它略过的文件不会同步，却算作已同步",
    ),
    (
        "a file of the same size and other content would stay old",
        "大小相同而内容不同的文件会一直是旧的",
    ),
    (
        "a file restored from a backup is older and would never be replicated",
        "从备份恢复的文件时间较旧，永远不会被同步",
    ),
    (
        "a file that changed elsewhere than at its end would stay wrong",
        "不在末尾处改动的文件会一直不正确",
    ),
    ("a file that did not grow would stay old", "没有变长的文件会一直是旧的"),
    (
        "an empty directory of the master would be missing on the remote",
        "主机上的空目录在远端会缺失",
    ),
    ("the list of files is syncsup's", "文件列表由 syncsup 提供"),
    (
        "a directory that takes the place of a link would be written through the link on the remote",
        "取代链接的目录，会经由链接写到远端的其他位置",
    ),
    (
        "remove it, and mount the directory in the link's place there with `mount --bind`",
        "请去掉，并在远端用 `mount --bind` 把该目录挂载到链接的位置",
    ),
    (
        "rsync follows links that others created in the paths to its files",
        "rsync 会跟随他人在文件路径中创建的链接",
    ),
    ("it would send the contents of whole disks", "它会发送整个磁盘的内容"),
    ("it would write into devices of the remote", "它会写入远端的设备"),
    (
        "reading a file changes its access time, so every reconcile finds it different",
        "读取文件会改变访问时间，因此每次全量比对都会认为它不同",
    ),
    ("rsync cannot do it on Linux", "rsync 在 Linux 上做不到"),
    ("it ignores the master", "它不读取主机上的文件"),
    ("it starts a server instead of a transfer", "它启动的是服务器，而不是传输"),
    ("it is an option of a daemon", "这是守护进程的选项"),
    (
        "after a read error, a file may seem missing that was only not read",
        "读取出错之后，只是没读到的文件可能会被当作不存在",
    ),
    (
        "a reconcile would stop there, and count the rest as in sync",
        "全量比对会在那里停止，其余的算作已同步",
    ),
    (
        "remove it; `max_delete` of the remote, or `delete` of the inotify section, says what may be deleted",
        "请去掉；可以删除多少，由远端的 `max_delete` 或 inotify 部分的 `delete` 决定",
    ),
    (
        "the copies that it leaves beside the files keep a directory from being deleted",
        "它留在文件旁的副本会使目录无法删除",
    ),
    (
        "add a --backup-dir outside of what is replicated, or use `trash` of a YAML configuration",
        "请加上在被同步目录之外的 --backup-dir，或使用 YAML 配置的 `trash`",
    ),
    (
        "given twice, it deletes on a remote what is below a directory that is a mount point here",
        "写两次时，本机上是挂载点的目录，其下的内容在远端会被删除",
    ),
    ("write -x once", "请只写一次 -x"),
    (
        "with --iconv rsync converts names but not filter rules, so a remote would delete or keep the wrong names",
        "使用 --iconv 时，rsync 会转换名称，却不转换过滤规则，因此远端会误删或误留",
    ),
    ("write it in the `filter` section", "请写在 `filter` 部分"),
    ("is not a number", "不是数字"),
    (
        "is the standard input, where rsync reads syncsup's list; name a file",
        "是标准输入，rsync 要从那里读取 syncsup 的列表；请填文件",
    ),
    (
        "reads the standard input, where rsync reads syncsup's list; name a file",
        "会读取标准输入，rsync 要从那里读取 syncsup 的列表；请填文件",
    ),
    (
        "would lie in the localpath, and be replicated; write an absolute path",
        "会在本地目录之内，因而被同步；请写绝对路径",
    ),
    (
        "is not an rsync option with its value in the same word",
        "不是 rsync 的选项（其值要写在同一个词中）",
    ),
    ("would change the meaning of a push at the other end", "会在另一端改变推送的含义"),
    (
        "files whose size and time are not conclusive are sent whole (-I)",
        "大小和时间不足以判断的文件，整个发送（-I）",
    ),
    (
        "marked files are sent whole (-I), and times are compared to the second",
        "被标记的文件整个发送（-I），时间只比较到秒",
    ),
    ("its totals are requested in another way", "改用其他方式取得统计数字"),
    (
        "a directory that is not empty is deleted only when its content is known and deleted, too",
        "非空目录只有在其内容已知并已一同删除时才会删除",
    ),
    (
        "only the watchdog here stops a comparison that hangs",
        "只有本机的看门狗会终止没有响应的比对",
    ),
    ("what is sent is not compressed", "发送的内容不压缩"),
    (
        "the run directory {} is too long for a socket of ssh; choose one of at most {} bytes with --run-dir",
        "运行目录 {} 太长，放不下 ssh 的套接字；请用 --run-dir 指定不超过 {} 字节的目录",
    ),
    (
        "ssh would expand `${` in the run directory {}; choose another with --run-dir",
        "ssh 会展开运行目录 {} 中的 `${`；请用 --run-dir 另选目录",
    ),
    ("a file became a fifo while rsync read it", "rsync 读取文件时，它变成了命名管道"),
    (
        "the other end sends messages without end: rsync was killed",
        "另一端没完没了地发送信息：rsync 已被终止",
    ),
    (
        "no answer: nothing came from the other end within {} s",
        "没有应答：{} 秒内另一端没有任何响应",
    ),
    (
        "no answer: rsync was killed after {} s without progress",
        "没有应答：{} 秒没有进展，rsync 已被终止",
    ),
    ("cannot create a scratch file in {}", "无法在 {} 中创建临时文件"),
];
