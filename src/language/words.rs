//! What is said in both languages: English, Chinese.

use super::{Counted, Text};

/// A text that is always the same.
type Word = Text<'static>;

// The states of remotes, localpaths, plugins and the reporter.
/// Nothing to do.
pub const IN_SYNC: Word = ("in sync", "已同步");
/// Something waits. In a count of remotes also: something is pushed or reconciled.
pub const BEHIND: Word = ("behind", "落后");
/// An rsync runs.
pub const PUSHING: Word = ("pushing", "推送中");
/// Everything is compared.
pub const RECONCILING: Word = ("reconciling", "全量比对中");
/// Tried again without help.
pub const IN_TROUBLE: Word = ("in trouble", "故障");
/// An operator must look.
pub const HELD: Word = ("held", "已暂停");
/// No process runs.
pub const DOWN: Word = ("down", "未运行");
/// The process has not said anything yet.
pub const STARTING: Word = ("starting", "正在启动");
/// Earlier changes are being searched for.
pub const SCANNING: Word = ("scanning", "正在扫描");
/// The normal state of a localpath.
pub const WATCHING: Word = ("watching", "监视中");
/// A part is not watched.
pub const DEGRADED: Word = ("degraded", "部分受限");
/// A plugin without work.
pub const IDLE: Word = ("idle", "空闲");
/// A plugin waits.
pub const WAITING: Word = ("waiting", "等待中");
/// A plugin is called.
pub const CALLING: Word = ("calling", "调用中");
/// A plugin fails.
pub const FAILS: Word = ("failing", "失败");
/// The reporter answers.
pub const LISTENING: Word = ("listening", "监听中");
/// The reporter cannot listen.
pub const REFUSED: Word = ("refused", "无法监听");

// The first line.
/// When nothing is left to do.
pub const ALL_IN_SYNC: Word = ("everything is in sync", "全部已同步");
/// Remotes of a class: a number, the class.
pub const OF_CLASS: Word = ("{} {}", "{} 个{}");
/// Localpaths in a state: the number of them, the state.
pub const OF_STATE: Word = ("{} {}", "{}{}");
/// Plugins whose calls fail.
pub const PLUGINS_FAIL: Counted = ("plugin fails", "plugins fail", "个插件失败");
/// Localpaths.
pub const LOCALPATHS: Counted = ("localpath", "localpaths", "个本地目录");
/// Between parts of one kind.
pub const COMMA: Word = (", ", "，");
/// Between values in a list.
pub const BETWEEN: Word = (", ", "、");
/// Between kinds.
pub const SEMICOLON: Word = ("; ", "；");
/// Before what explains.
pub const COLON: Word = (": ", "：");

// The headings of `status` and `check`.
/// A remote.
pub const REMOTE: Word = ("REMOTE", "远端");
/// Its state.
pub const STATE: Word = ("STATE", "状态");
/// The age of the oldest change that it lacks.
pub const LAG: Word = ("LAG", "延迟");
/// The number of paths to push.
pub const TO_PUSH: Word = ("TO PUSH", "待推送");
/// The number of those that fail.
pub const FAILING: Word = ("FAILING", "失败");
/// When it last accepted a push.
pub const LAST_PUSH: Word = ("LAST PUSH", "上次推送");
/// What was sent to it.
pub const SENT: Word = ("SENT", "已发送");
/// When it is compared next.
pub const NEXT_RECONCILE: Word = ("NEXT RECONCILE", "下次全量比对");
/// A process.
pub const PROCESS: Word = ("PROCESS", "进程");
/// Its number.
pub const PID: Word = ("PID", "PID");
/// For how long it runs.
pub const RUNS_FOR: Word = ("RUNS FOR", "运行时长");
/// How often it was restarted.
pub const RESTARTS: Word = ("RESTARTS", "重启次数");
/// How it last ended.
pub const LAST_EXIT: Word = ("LAST EXIT", "上次结束");
/// A localpath.
pub const LOCALPATH: Word = ("LOCALPATH", "本地目录");
/// A remote or a plugin.
pub const REMOTE_OR_PLUGIN: Word = ("REMOTE / PLUGIN", "远端 / 插件");
/// The command line, or what is called.
pub const RSYNC_OR_CALL: Word = ("RSYNC / CALL", "RSYNC / 调用");

// The rows of `status`.
/// A localpath: its directory, its state, its watches.
pub const LOCALPATH_LINE: Word = ("{}: {}, {}", "{}：{}，{}");
/// Watched directories.
pub const DIRECTORIES: Counted = ("directory", "directories", "个目录");
/// Files.
pub const FILES: Counted = ("file", "files", "个文件");
/// Calls of a plugin.
pub const CALLS: Counted = ("call", "calls", "次调用");
/// Failing paths.
pub const PATHS_FAIL: Counted = ("path fails", "paths fail", "个路径失败");
/// A time ago.
pub const AGO: Word = ("{} ago", "{}前");
/// In a time.
pub const IN: Word = ("in {}", "{}后");
/// Not yet.
pub const NEVER: Word = ("never", "从未");
/// Open files: their number, for how long.
pub const OPEN: Word = ("{} open since {}", "{}已打开 {}");
/// The oldest open file.
pub const SENT_WHEN_CLOSED: Word = ("sent when it is closed: {}", "关闭后发送：{}");
/// The time and the span since which it is in trouble.
pub const SINCE: Word = ("since {} ({})", "自 {} 起（{}）");
/// When it is tried again.
pub const NEXT_TRY: Word = ("next try {}", "{}重试");
/// It is tried now.
pub const RETRYING: Word = ("retrying now", "正在重试");
/// A reason that another row has.
pub const AS_ABOVE: Word = ("as above", "原因同上");
/// A reconcile compares: why.
pub const RECONCILE_RUNS: Word = ("reconcile running: {}", "正在全量比对：{}");
/// A reconcile is still to come: why.
pub const RECONCILE_DUE: Word = ("reconcile due: {}", "等待全量比对：{}");
/// The result of a reconcile is pushed: why, done, found.
pub const RECONCILE_PUSHES: Word =
    ("reconcile ({}): {} of {} differences pushed", "全量比对（{}）：已推送 {}/{} 处不同");
/// More of that: bytes of files, sent and in all.
pub const OF_BYTES: Word = (", {} of {}", "，{}/{}");
/// More of that: bytes in a second.
pub const PER_SECOND: Word = (", {}/s", "，{}/秒");
/// More of that: the time that the rest takes.
pub const TIME_LEFT: Word = (", {} left", "，还需 {}");
/// The scrub waits: until when.
pub const NEXT_SCRUB: Word = ("next scrub {}", "下次滚动比对：{}");
/// The scrub runs: after what, and what it repaired.
pub const SCRUB: Word = ("scrub{}, {} repaired", "正在滚动比对{}，已修复 {} 处");
/// The path that the scrub has reached.
pub const SCRUB_AFTER: Word = (" after {}", "（已过 {}）");
/// No rsync is kept connected.
pub const NO_STANDBY: Word = (
    "without a standby: the remote refuses more connections",
    "没有待命的 rsync：远端拒绝更多的连接",
);
/// Calls that were given up.
pub const GIVEN_UP: Word = ("{} given up", "已放弃 {} 次");
/// How a process ended.
pub const RUNNER_EXITED: Word = ("its runner exited: {}", "插件进程已退出：{}");
/// A plugin.
pub const PLUGIN: Word = ("plugin {}", "插件 {}");
/// A pusher with an rsync that is connected.
pub const WITH_STANDBY: Word = ("{}, with a standby", "{}，有待命的 rsync");
/// Processes that are not shown: how many, how many of them do not run, and the option.
pub const PROCESSES_NOT_SHOWN: Word =
    ("{}, {} down; {} shows them", "{}，其中 {} 个未运行；加 {} 显示");
/// Processes.
pub const PROCESSES: Counted = ("process", "processes", "个进程");

// What the other commands count.
/// Errors of a configuration.
pub const ERRORS: Counted = ("error", "errors", "个错误");
/// Warnings about a configuration.
pub const WARNINGS: Counted = ("warning", "warnings", "个警告");
/// Remotes.
pub const REMOTES: Counted = ("remote", "remotes", "个远端");
/// Paths.
pub const PATHS: Counted = ("path", "paths", "个路径");
/// What is still to be pushed.
pub const NAMES_TO_PUSH: Counted = ("name to push", "names to push", "个名称待推送");
/// Calls of a plugin that are still to be made.
pub const CALLS_WAIT: Counted = ("call waits", "calls wait", "次调用等待中");
/// Journals.
pub const JOURNALS: Counted = ("journal", "journals", "个 journal");
/// What a reconcile would delete.
pub const DELETIONS: Counted = ("deletion", "deletions", "处删除");
/// What a comparison has found.
pub const DIFFERENCES: Counted = ("difference", "differences", "处不同");
/// Files and directories of a comparison.
pub const ENTRIES: Counted = ("entry", "entries", "个条目");
/// The same, as far as it has come.
pub const ENTRIES_COMPARED: Counted = ("entry compared", "entries compared", "个条目已比对");
