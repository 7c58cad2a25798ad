//! The sections of docs/troubleshooting.md, and the reasons that name one. Pure.

use serde::{Deserialize, Serialize};

/// Declares the topics: one list for the type, its anchors, their Chinese and [`HelpTopic::ALL`].
macro_rules! topics {
    ($($(#[$doc:meta])* $topic:ident = $anchor:literal $chinese:literal,)*) => {
        /// A section of docs/troubleshooting.md: what a message means, and what to do. The page has an anchor for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum HelpTopic {
            $($(#[$doc])* #[serde(rename = $anchor)] $topic,)*
        }

        impl HelpTopic {
            /// Every section.
            pub const ALL: &[HelpTopic] = &[$(HelpTopic::$topic,)*];

            /// The anchor of the section.
            pub fn anchor(self) -> &'static str {
                match self {
                    $(HelpTopic::$topic => $anchor,)*
                }
            }

            /// What has happened, in Chinese: reasons are English, as rsync's messages are.
            pub fn in_chinese(self) -> &'static str {
                match self {
                    $(HelpTopic::$topic => $chinese,)*
                }
            }
        }
    };
}

topics! {
    /// The delete guard holds what a comparison found.
    Guard = "guard" "将被删除的太多，等待放行",
    /// The root of a localpath is missing.
    RootGone = "root-gone" "本地目录不见了",
    /// Another directory is in the place of the root.
    RootReplaced = "root-replaced" "原位置上是另一个目录",
    /// The root exists and cannot be read.
    RootUnreadable = "root-unreadable" "本地目录无法读取",
    /// The operator has released the root, which is being taken as it is now.
    RootAdopted = "root-adopted" "正在采用当前的目录",
    /// The journal, or the state directory, cannot be written.
    JournalRefused = "journal-refused" "状态目录无法写入",
    /// The journal is damaged or lost.
    JournalDamaged = "journal-damaged" "journal 已损坏或丢失",
    /// The system gives no more inotify watches.
    WatchLimit = "watch-limit" "inotify 监视数量不够",
    /// Directories cannot be watched for another reason.
    Unwatched = "unwatched" "部分目录无法监视",
    /// A file system below a localpath is no longer mounted.
    NotMounted = "not-mounted" "下级文件系统未挂载",
    /// A file system below a localpath does not answer.
    MountSilent = "mount-silent" "下级文件系统没有响应",
    /// A process exits again and again.
    ProcessDown = "process-down" "进程反复退出",
    /// A remote cannot be reached.
    Unreachable = "unreachable" "无法连接到远端",
    /// Nothing comes from a remote.
    NoAnswer = "no-answer" "远端没有应答",
    /// A remote takes no more connections.
    ConnectionLimit = "connection-limit" "远端的连接数已满",
    /// The connection broke, or made no progress.
    Broken = "broken" "连接中断",
    /// The local rsync was killed.
    Killed = "killed" "rsync 被终止",
    /// The remote's disk is full.
    RemoteFull = "remote-full" "远端磁盘已满",
    /// The remote's storage fails in another way.
    RemoteStorage = "remote-storage" "远端存储出错",
    /// The master refuses something, for example a process.
    LocalError = "local-error" "本机的系统错误",
    /// A password, or its file, is wrong.
    Password = "password" "密码或密码文件有误",
    /// The daemon does not know the module.
    UnknownModule = "unknown-module" "远端没有这个模块",
    /// The daemon does not admit this host.
    AccessDenied = "access-denied" "远端不允许本机访问",
    /// The directory of the module is missing.
    ModulePath = "module-path" "模块的目录不存在",
    /// The module is read-only.
    ReadOnly = "read-only" "模块是只读的",
    /// The daemon refuses an option of rsync.
    RefusedOption = "refused-option" "远端不允许某个 rsync 选项",
    /// ssh did not log in.
    SshLogin = "ssh-login" "ssh 登录失败",
    /// The remote has no rsync.
    NoRsync = "no-rsync" "远端没有安装 rsync",
    /// A name cannot be converted to the remote's charset.
    Charset = "charset" "文件名无法转换成远端的字符集",
    /// A script of the module has refused.
    ModuleScript = "module-script" "模块的脚本拒绝了请求",
    /// The program is not rsync.
    NotRsync = "not-rsync" "该程序不是 rsync",
    /// rsync refuses to work for another reason.
    RsyncRefuses = "rsync-refuses" "rsync 拒绝执行",
    /// Single paths fail.
    FailingPaths = "failing-paths" "个别路径推送失败",
    /// A comparison was incomplete.
    Incomplete = "incomplete" "全量比对不完整",
    /// A plugin fails.
    PluginFailing = "plugin-failing" "插件调用失败",
    /// The status page cannot be served.
    PageRefused = "page-refused" "状态页面无法监听",
}

impl HelpTopic {
    /// The command that prints the section: `syncsup help guard`.
    pub fn command(self) -> String {
        format!("syncsup help {}", self.anchor())
    }
}

/// Why something is held or in trouble, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The message.
    pub why: String,
    /// The section that says what to do.
    pub help: HelpTopic,
}

impl Reason {
    /// A message and its section.
    pub fn new(help: HelpTopic, why: impl Into<String>) -> Self {
        Self { why: why.into(), help }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn status_prints_the_anchor() {
        assert_eq!(serde_json::to_value(HelpTopic::RootGone).unwrap(), "root-gone");
        assert_eq!(HelpTopic::Guard.command(), "syncsup help guard");
    }

    /// Each page has a section for each topic and no other, with a remedy, in the same order.
    #[test]
    fn the_pages_have_the_anchors_that_the_program_names() {
        let english = anchors(include_str!("../docs/troubleshooting.md"), "**Do:**");
        let chinese = anchors(include_str!("../docs/zh/troubleshooting.md"), "**处理：**");
        assert_eq!(english, chinese);
        let sorted: BTreeSet<&str> = english.iter().copied().collect();
        let named: BTreeSet<&str> = HelpTopic::ALL.iter().map(|topic| topic.anchor()).collect();
        assert_eq!((sorted, english.len()), (named, HelpTopic::ALL.len()));
    }

    /// The anchors of a page, each on a line of its own above a heading and a remedy.
    fn anchors<'t>(page: &'t str, remedy: &str) -> Vec<&'t str> {
        let there: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("<a id=\"")?.strip_suffix("\"></a>"))
            .collect();
        assert_eq!(page.matches("<a id=").count(), there.len(), "an anchor has its own line");
        for section in page.split("<a id=\"").skip(1) {
            let (anchor, rest) = section.split_once("\"></a>\n\n").unwrap_or(("", section));
            assert!(rest.starts_with("### "), "{anchor}: no heading below the anchor");
            let text = rest.split("\n## ").next().unwrap_or_default();
            assert_eq!(text.matches(remedy).count(), 1, "{anchor}: no remedy");
        }
        there
    }
}
