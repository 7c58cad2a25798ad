//! Under a zh locale in UTF-8 a person reads Chinese, with the places and the exit statuses of the English.

use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, wait_for};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

const ZH: &str = "zh_CN.UTF-8";

const XML: &str = r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<head version="2.5">
    <host hostip="localhost" port="8008"></host>
    <debug start="ture"/>
    <fileSystem xfs="false"/>
    <filter start="true">
        <exclude expression="*.tmp"></exclude>
    </filter>
    <inotify>
        <delete start=“true”/>
        <modifi start="true"/>
    </inotify>
    <sersync>
        <localpath watch="data">
            <remote ip="10.0.0.2" name="/www"/>
            <remote ip="10.0.0.3"/>
        </localpath>
        <rsync>
            <commonParams params="-artuz --inplace --remove-source-files"/>
            <userDefinedPort start="true" port="87400"/>
        </rsync>
    </sersync>
</head>
"#;

const YAML: &str = "\
lcoalpaths: []
delay: soon
rsync: {params: -a -y, port: x}
crontab: {every: 1h, cron: '* * * * *'}
localpaths:
  - watch: ~/data
    remotes: [10.0.0.2, 'http://10.0.0.3/www', {host: '', module: www}]
    filter: {exclude: ['*.tmp'], exclude_glob: ['!a']}
  - watch:/data
";

/// A directory of files, and an instance that is not started.
struct Place {
    instance: Instance,
    dir: TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::new(&dir.path().join("instance"), "unused.yaml", "");
        Place { instance, dir }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        fs::write(&file, text).unwrap();
        file
    }

    fn run(&self, locale: &str, args: &[&str]) -> Output {
        let mut command = self.instance.prepare(&Instance::program(), args);
        command.current_dir(self.dir.path()).env("LC_ALL", locale).output().unwrap()
    }

    fn check(&self, locale: &str, file: &Path) -> Output {
        self.run(locale, &["check", "-o", file.to_str().unwrap()])
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn is_chinese(line: &str) -> bool {
    line.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// `FILE:LINE:COLUMN: ` of a line, as far as it has them, and whether it is a warning.
fn place(line: &str) -> (String, bool) {
    let warns = line.contains("warning: ") || line.contains("警告：");
    let parts = line.split(':').enumerate();
    let kept = parts.take_while(|(n, part)| *n == 0 || part.bytes().all(|b| b.is_ascii_digit()));
    (kept.map(|(_, part)| part).collect::<Vec<_>>().join(":"), warns)
}

/// The output in English, after a comparison with the other locales: Chinese in every line of standard error, with the
/// same place and the same exit status.
fn compared(of: impl Fn(&str) -> Output) -> (Output, Output) {
    let (english, chinese) = (of("C"), of(ZH));
    assert_eq!(of("zh_CN.GBK"), english);
    assert_eq!(chinese.status, english.status);
    let (here, there) = (text(&english.stderr), text(&chinese.stderr));
    assert!(!is_chinese(&here), "{here}");
    let untold: Vec<&str> = there.lines().filter(|line| !is_chinese(line)).collect();
    assert_eq!(untold, [""; 0], "{there}");
    let places = |said: &str| said.lines().map(place).collect::<Vec<_>>();
    assert_eq!(places(&there), places(&here), "{here}\n{there}");
    (english, chinese)
}

#[test]
fn check_counts_warnings_in_both_languages() {
    let at = Place::new();
    let watch = at.dir.path().display();
    let given = |auth: &str| {
        format!("{auth}localpaths: [{{watch: {watch}, remotes: ['10.0.0.2::www']}}]\n")
    };
    let auth = format!("rsync: {{auth: {{user: u, password_file: {watch}/none}}}}\n");
    let file = at.file("c.yaml", &given(&auth));
    let (english, chinese) = compared(|locale| at.check(locale, &file));
    assert_eq!(english.stderr.iter().filter(|b| **b == b'\n').count(), 1, "{english:?}");
    assert!(text(&english.stdout).ends_with("\nok, 1 warning\n"), "{english:?}");
    assert!(text(&chinese.stdout).ends_with("\nok，1 个警告\n"), "{chinese:?}");
    let (fine, _) = compared(|locale| at.check(locale, &at.file("fine.yaml", &given(""))));
    assert!(text(&fine.stdout).ends_with("\nok\n"), "{fine:?}");
}

#[test]
fn mistakes_in_a_configuration_are_told_in_chinese() {
    let at = Place::new();
    for (name, given, count) in [("c.xml", XML, 9), ("c.yaml", YAML, 10)] {
        let file = at.file(name, given);
        let (english, chinese) = compared(|locale| at.check(locale, &file));
        assert_eq!(english.status.code(), Some(2), "{english:?}");
        let said = text(&english.stderr);
        assert!(said.lines().filter(|l| l.contains(name)).count() >= count, "{said}");
        let said = text(&chinese.stderr);
        let last = said.lines().last().unwrap();
        assert!(last.ends_with("个错误；用这份配置 syncsup 无法启动"), "{last}");
        // A start says the same.
        let start = ["-d", "-o", file.to_str().unwrap()];
        let (english, _) = compared(|locale| at.run(locale, &start));
        assert_eq!(english.status.code(), Some(2), "{english:?}");
    }
    let file = at
        .file("port.yaml", "localpaths: [{watch: /x, remotes: [{host: h, module: m, port: x}]}]\n");
    let said = text(&at.check(ZH, &file).stderr);
    let wanted =
        format!("{}:1: remote port: `x` 不是端口；请填 1 到 65535 之间的数字\n", file.display());
    assert!(said.starts_with(&wanted), "{said}");
}

#[test]
fn a_wrong_command_line_is_told_in_chinese() {
    let at = Place::new();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--jsno"], 2, "syncsup: 未知的选项 --jsno；是不是 --json？\n"),
        (&["staus"], 2, "syncsup: 未知的命令 `staus`；是不是 `status`？\n"),
        (&["-o"], 2, "syncsup: -o 需要一个值；见 `syncsup --help`\n"),
        (&["-o", ""], 2, "syncsup: -o 的值为空；是不是调用者的变量没有设置？\n"),
        (&["--verbose=1"], 2, "syncsup: 选项 '--verbose' 不带值：\"1\"；见 `syncsup --help`\n"),
        (
            &["stop", "--json"],
            2,
            "syncsup: `syncsup stop` 没有 --json 这个选项；见 `syncsup --help`\n",
        ),
        (
            &["wait", "--timeout", "x"],
            2,
            "syncsup: --timeout x: 不是时长；请写 500ms、30s、5m 或 1h 这样的值\n",
        ),
        (&["--http", "8008x"], 2, "syncsup: --http `8008x` 不是地址加端口；"),
        (&["status"], 3, "syncsup: 没有 supervisor 在运行（已在 "),
    ];
    for (args, status, wanted) in cases {
        let (english, chinese) = compared(|locale| at.run(locale, args));
        assert_eq!(english.status.code(), Some(status), "{args:?}: {english:?}");
        let said = text(&chinese.stderr);
        assert!(said.starts_with(wanted), "{args:?}: {said}");
    }
}

#[test]
fn what_check_understood_is_told_in_chinese() {
    let at = Place::new();
    let watch = at.dir.path().display();
    let given = format!(
        "http: {{listen: '127.0.0.1:1'}}\nrsync: {{params: -au}}\nlocalpaths:\n  - watch: {watch}\n    remotes: ['127.0.0.1:1::w']\n    plugins: [{{command: {{prefix: /bin/true}}}}]\n"
    );
    let file = at.file("c.yaml", &given);
    let (english, chinese) = compared(|locale| at.check(locale, &file));
    assert_eq!(english.status.code(), Some(0), "{english:?}");
    let said = text(&chinese.stdout);
    for wanted in [
        "本地目录",
        "插件 command",
        "http://127.0.0.1:1/（无令牌；落后 1 分钟即为不健康）\n",
        "\nok，1 个警告\n",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let warning = format!("{}:2: 警告：已去掉 rsync 参数 -u (--update)：", file.display());
    assert!(text(&chinese.stderr).contains(&warning), "{chinese:?}");
}

fn the_supervisor_answers_in_chinese(at: &Place, file: &str, given: &str) {
    let unknown = at.run(ZH, &["release", "nobody"]);
    assert!(text(&unknown.stderr).contains("nobody：没有这个 localpath 或远端"), "{unknown:?}");
    let reloaded = at.run(ZH, &["reload"]);
    let said = text(&reloaded.stdout) + &text(&reloaded.stderr);
    assert!(said.contains("已重新加载：") && said.contains(":1: 警告：已去掉 rsync"), "{said}");
    fs::write(file, given.replace("remotes", "remoets")).unwrap();
    let (english, _) = compared(|locale| at.run(locale, &["reload"]));
    assert_eq!(english.status.code(), Some(2), "{english:?}");
    fs::write(file, given).unwrap();
    let status = at.run(ZH, &["status"]);
    let help = "无法连接到远端，处理办法：syncsup help unreachable\n";
    assert!(text(&status.stdout).contains(help), "{status:?}");
}

#[test]
fn a_daemon_warns_in_chinese_and_logs_in_english() {
    let at = Place::new();
    let watch = at.dir.path().join("data");
    fs::create_dir(&watch).unwrap();
    let given = format!(
        "rsync: {{params: -au}}\nlocalpaths: [{{watch: {}, remotes: ['127.0.0.1:1::w']}}]\n",
        watch.display()
    );
    let file = at.file("c.yaml", &given);
    let file = file.to_str().unwrap();
    let started = at.run(ZH, &["-d", "-o", file]);
    let said = text(&started.stderr);
    assert!(
        started.status.success() && said.contains(":1: 警告：已去掉 rsync 参数 -u"),
        "{started:?}"
    );
    assert!(text(&started.stdout).contains("syncsup 已在后台运行（pid "), "{started:?}");
    let again = at.run(ZH, &["-d", "-o", file]);
    assert_eq!(again.status.code(), Some(4), "{again:?}");
    let running = format!("使用 {file} 的 supervisor 已在运行（pid ");
    assert!(text(&again.stderr).contains(&running), "{again:?}");
    let log = at.instance.state_dir().join("syncsup.log");
    wait_for("the refusal", DEADLINE, || {
        fs::read_to_string(&log).unwrap_or_default().contains("Connection refused")
    });
    let waited = at.run(ZH, &["wait", "--timeout", "1ms"]);
    assert_eq!(waited.status.code(), Some(1), "{waited:?}");
    assert!(text(&waited.stdout).contains("未完成：1 个远端中有 0 个已完成\n"), "{waited:?}");
    the_supervisor_answers_in_chinese(&at, file, &given);
    assert!(at.run(ZH, &["stop"]).status.success());
    let logged = fs::read_to_string(&log).unwrap();
    let own: Vec<&str> = logged.lines().filter(|line| is_chinese(line)).collect();
    // The error that ended the second start.
    assert!(own.iter().all(|line| line.contains(&running)), "{own:?}");
    assert!(logged.contains(":1: rsync parameter -u (--update) is dropped: "), "{logged}");
}
